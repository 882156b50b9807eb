from django.db import models


class Order(models.Model):
    id = models.BigAutoField(primary_key=True)
    item = models.TextField()
    email = models.EmailField()
    ordered_at = models.DateTimeField(auto_now_add=True)
    confirmed_at = models.DateTimeField(null=True)
