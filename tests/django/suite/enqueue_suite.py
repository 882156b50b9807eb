"""Tasks are enqueued on Django's connection, in whatever transaction that is in."""

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from library.models import Book
from library.tasks import app, blueprint, count_books, lend_book

from suite.support import query, states
from underway_pg import QueueNotFound, TaskNotFound


class EnqueueInTestCase(TestCase):
    def test_a_task_is_part_of_the_transaction_of_the_test(self):
        before = query("select pg_backend_pid()")
        lend_book.enqueue(book=1)
        self.assertEqual(states(), [("lend_book", "pending")])
        self.assertEqual(query("select pg_backend_pid()"), before)

    def test_the_tasks_of_another_test_are_not_there(self):
        self.assertEqual(states(), [])
        lend_book.enqueue(book=2)

    def test_an_enqueue_is_one_query_after_the_first(self):
        lend_book.enqueue(book=1)
        with self.assertNumQueries(1):
            lend_book.enqueue(book=1)

    def test_a_rollback_takes_the_task_away(self):
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            lend_book.enqueue(book=1)
            raise ZeroDivisionError
        self.assertEqual(states(), [])

    def test_a_refused_enqueue_is_an_error_of_underway_and_marks_the_transaction(self):
        with self.assertRaises(QueueNotFound), transaction.atomic():
            lend_book.options(queue="nowhere").enqueue(book=1)
        self.assertEqual(states(), [])
        with transaction.atomic():
            with self.assertRaises(QueueNotFound):
                lend_book.options(queue="nowhere").enqueue(book=1)
            with self.assertRaises(transaction.TransactionManagementError):
                Book.objects.count()
            transaction.set_rollback(True)

    def test_a_blueprint_of_a_tasks_module_is_included(self):
        self.assertIs(blueprint.app, app)
        count_books.enqueue()
        self.assertEqual(states(), [("count_books", "pending")])

    def test_the_database_can_be_named_or_given(self):
        for given in ("default", connection, connections["default"]):
            lend_book.using(given).enqueue(book=1)
        self.assertEqual(len(states()), 3)

    def test_calls_of_the_application_see_the_transaction(self):
        task = lend_book.enqueue(book=1)
        self.assertEqual(app.task(task).state, "pending")
        self.assertTrue(app.cancel(task))
        self.assertEqual(app.task(task).state, "cancelled")

    def test_waiting_for_a_task_of_the_open_transaction_says_that_there_is_none(self):
        task = lend_book.enqueue(book=1)
        with self.assertRaises(TaskNotFound):
            task.wait(timeout=10)

    async def test_async_code_uses_the_connection_of_the_test(self):
        await lend_book.enqueue_async(book=1)
        self.assertEqual(await sync_to_async(states)(), [("lend_book", "pending")])
        self.assertEqual(len(await (await app.async_client()).tasks()), 1)


class EnqueueInTransactionTestCase(TransactionTestCase):
    def test_a_rolled_back_first_enqueue_leaves_the_queues_usable(self):
        query("select underway.drop_queue('quick', force => true)")
        app.close()  # as in a process that has not enqueued
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            lend_book.enqueue(book=1)
            raise ZeroDivisionError
        self.assertEqual(query("select queue from underway.queue_stats where queue = 'quick'"), [])
        lend_book.enqueue(book=2)
        self.assertEqual(states(), [("lend_book", "pending")])

    def test_a_flush_empties_the_queues_and_keeps_what_the_code_declares(self):
        self.assertEqual(states(), [])
        self.assertEqual(query("select schedule from underway.schedule_stats"), [("close_library",)])
        lend_book.enqueue(book=1)
        query("select underway.create_queue('left over')")

    test_a_flush_empties_the_queues_once_more = test_a_flush_empties_the_queues_and_keeps_what_the_code_declares

    @override_settings(DEBUG_PROPAGATE_EXCEPTIONS=False)
    def test_atomic_requests_cover_the_tasks_of_a_view(self):
        self.client.raise_request_exception = False
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        try:
            self.assertEqual(self.client.post("/lend", {"title": "Emma", "fail": "1"}).status_code, 500)
            self.assertEqual((Book.objects.count(), states()), (0, []))
            self.assertEqual(self.client.post("/lend", {"title": "Emma"}).status_code, 200)
            self.assertEqual((Book.objects.count(), states()), (1, [("lend_book", "pending")]))
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = False

    def test_a_broken_connection_is_replaced_before_the_next_request(self):
        with self.assertRaises(DatabaseError):
            query("select pg_terminate_backend(pg_backend_pid())")
        with self.assertRaises(DatabaseError):
            lend_book.enqueue(book=1)
        connection.close_if_unusable_or_obsolete()
        lend_book.enqueue(book=1)

    def test_repeatable_read_sees_the_tasks_of_its_own_transaction(self):
        with transaction.atomic():
            query("set transaction isolation level repeatable read")
            Book.objects.count()
            lend_book.enqueue(book=1)
            self.assertEqual(states(), [("lend_book", "pending")])
