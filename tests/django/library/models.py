from django.db import models


class Book(models.Model):
    title = models.TextField()
    lent = models.IntegerField(default=0)
