from datetime import timedelta

from django.core import mail
from django.core.management import call_command
from django.db import transaction
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

from shop.models import Order
from shop.tasks import app, confirm_order, delete_old_orders
from underway_pg.testing import assert_enqueued, enqueued, run_pending

ORDER = {"item": "bread", "email": "ferris@example.com"}


class OrderTest(TestCase):
    def test_an_order_is_confirmed_by_mail(self):
        self.assertEqual(self.client.post("/orders", ORDER).status_code, 201)
        order = Order.objects.get()
        assert_enqueued(confirm_order, order_id=order.id)
        run_pending(app)  # in the transaction of this test
        order.refresh_from_db()
        self.assertIsNotNone(order.confirmed_at)
        self.assertEqual([message.to for message in mail.outbox], [["ferris@example.com"]])

    def test_an_order_that_is_rolled_back_has_no_task(self):
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            self.client.post("/orders", ORDER)
            raise ZeroDivisionError
        self.assertEqual((Order.objects.count(), enqueued(confirm_order)), (0, []))

    def test_old_orders_are_deleted(self):
        for days in (1, 400):
            order = Order.objects.create(**ORDER)
            Order.objects.filter(id=order.id).update(ordered_at=timezone.now() - timedelta(days=days))
        self.assertEqual(delete_old_orders(), 1)  # a job is a function
        self.assertEqual(Order.objects.count(), 1)


class WorkerTest(TransactionTestCase):
    def test_a_worker_confirms_orders(self):
        self.client.post("/orders", ORDER)
        call_command("underway_worker", "--drain")
        self.assertIsNotNone(Order.objects.get().confirmed_at)
