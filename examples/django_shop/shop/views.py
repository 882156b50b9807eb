from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from shop.models import Order
from shop.tasks import confirm_order


@require_POST
@transaction.atomic
def create_order(request: HttpRequest) -> HttpResponse:
    order = Order.objects.create(item=request.POST["item"], email=request.POST["email"])
    confirm_order.enqueue(order_id=order.id)  # committed together with the order, or not at all
    return HttpResponse(f"order {order.id}\n", status=201)
