from datetime import timedelta

from django.core.mail import send_mail
from django.utils import timezone

from shop.models import Order
from underway_pg import Context, RetryPolicy
from underway_pg.django import app


@app.job(queue="email", retry=RetryPolicy(max_attempts=10))
def confirm_order(context: Context, order_id: int) -> None:
    order = Order.objects.get(id=order_id)
    send_mail("Your order", f"Thank you for ordering {order.item}.", "shop@example.com", [order.email])
    with context.transaction():  # the task is complete if and only if the order is confirmed
        order.confirmed_at = timezone.now()
        order.save()


@app.schedule("0 3 * * *", time_zone="Europe/Berlin")
@app.job
def delete_old_orders(days: int = 365) -> int:
    deleted, _ = Order.objects.filter(ordered_at__lt=timezone.now() - timedelta(days=days)).delete()
    return deleted
