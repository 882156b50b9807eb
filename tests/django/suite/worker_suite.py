"""Handlers have Django's connections, which are looked after around each of them."""

import asyncio
import time
from unittest import mock

from django.core.management import CommandError
from django.db import connection, connections
from django.test import TestCase, TransactionTestCase
from library import measure
from library.models import Book
from library.tasks import (
    app,
    backend,
    break_connection,
    end_own_session,
    lend_and_complete,
    lend_book,
    lend_book_async,
    lend_in_process,
    meet,
    session,
    shelf,
)

from suite.support import query, states, work
from underway_pg.django.database import HandlerDatabase


def wait_until_alone():
    """Wait until the test database has no other session: the server ends one a moment after its client has left."""
    deadline = time.monotonic() + 20
    while left := query(
        "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        " and backend_type = 'client backend'"
    ):
        assert time.monotonic() < deadline, f"sessions are left: {left}"


class WorkerInTestCase(TestCase):
    def test_a_worker_refuses_to_run_in_a_transaction(self):
        with self.assertRaisesMessage(CommandError, "TransactionTestCase"):
            work()

    def test_a_handler_in_the_thread_of_a_test_uses_its_transaction(self):
        book = Book.objects.create(title="Emma")

        context = mock.Mock(**{"_attempt.environment.connections": None})

        async def read():
            async with HandlerDatabase(context, "default"):
                return await Book.objects.aget(id=book.id)

        self.assertEqual(asyncio.run(read()), book)
        with self.assertRaises(ZeroDivisionError), HandlerDatabase(context, "default"):
            raise ZeroDivisionError
        self.assertEqual(Book.objects.get(id=book.id), book)


class WorkerInTransactionTestCase(TransactionTestCase):
    def run_alone(self, job, *, attempts=1, **arguments):
        """Enqueue a task and run it. Returns its output, and fails the test if the task failed."""
        task = job.enqueue(**arguments)
        work("--concurrency", "1")
        info = app.task(task)
        self.assertEqual((info.state, info.attempt), ("succeeded", attempts), info.errors)
        return info.output

    def test_handlers_use_the_test_database(self):
        book = Book.objects.create(title="Emma")
        self.assertEqual(self.run_alone(lend_book, book=book.id), 1)
        self.assertEqual(self.run_alone(lend_book_async, book=book.id), 2)
        book.refresh_from_db()
        self.assertEqual(book.lent, 2)

    def test_a_handler_process_uses_the_test_database(self):
        book = Book.objects.create(title="Emma")
        self.assertEqual(self.run_alone(lend_in_process, book=book.id), connection.settings_dict["NAME"])
        book.refresh_from_db()
        self.assertEqual(book.lent, 4)

    def test_a_worker_leaves_no_connection_behind(self):
        with mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=None):
            book = Book.objects.create(title="Emma")
            for job in (lend_book, lend_book_async):
                for _ in range(3):
                    job.enqueue(book=book.id)
            work()
        self.assertEqual([state for _, state in states()], ["succeeded"] * 6)
        wait_until_alone()

    def test_a_broken_connection_costs_one_task_an_attempt_and_no_other(self):
        with mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=None):
            broken = break_connection.enqueue()
            others = [session.enqueue() for _ in range(3)]
            work("--concurrency", "1")
        self.assertEqual(app.task(broken).state, "failed")
        self.assertEqual([(app.task(each).state, app.task(each).attempt) for each in others], [("succeeded", 1)] * 3)

    def test_connections_live_as_long_as_conn_max_age_says(self):
        for age, sessions_used in ((None, 1), (0, 3)):
            with self.subTest(age=age), mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=age):
                tasks = [session.enqueue() for _ in range(3)]
                work("--concurrency", "1")
                self.assertEqual(len({app.task(task).output for task in tasks}), sessions_used)

    def test_a_connection_that_grew_too_old_while_its_thread_was_idle_is_replaced(self):
        context = mock.Mock(**{"_attempt.environment.connections": None})
        self.addCleanup(connection.close)
        connection.close()
        with mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=60):
            with HandlerDatabase(context, "default"):
                first = backend()
            with HandlerDatabase(context, "default"):
                self.assertEqual(backend(), first)
            connection.close_at = 0
            with HandlerDatabase(context, "default"):
                self.assertNotEqual(backend(), first)

    def test_an_error_ends_the_connection_of_its_handler(self):
        with mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=None):
            tasks = [session.enqueue(), session.enqueue(fail=True), session.enqueue()]
            work("--concurrency", "1")
        first, failed, last = (app.task(task) for task in tasks)
        self.assertEqual(failed.errors[0]["message"], str(first.output))
        self.assertNotEqual(last.output, first.output)

    def test_async_handlers_that_run_at_once_have_connections_of_their_own(self):
        tasks = [meet.enqueue() for _ in range(2)]
        work()
        self.assertEqual(len({app.task(task).output for task in tasks}), 2, app.task(tasks[0]).errors)

    def test_a_session_that_the_server_ended_while_idle_is_replaced_with_health_checks(self):
        with mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True):
            end_own_session.enqueue()
            last = session.enqueue()
            work("--concurrency", "1")
        self.assertEqual((app.task(last).state, app.task(last).attempt), ("succeeded", 1), app.task(last).errors)

    def test_a_pool_of_django_is_used_and_given_back(self):
        options = {"pool": {"min_size": 1, "max_size": 2}}
        with mock.patch.dict(connections.settings["default"], OPTIONS=options):
            connection.close()
            try:
                book = Book.objects.create(title="Emma")
                tasks = [lend_book.enqueue(book=book.id) for _ in range(4)]
                tasks += [lend_book_async.enqueue(book=book.id) for _ in range(4)]
                work("--concurrency", "2")
                self.assertEqual({app.task(task).state for task in tasks}, {"succeeded"})
                self.assertEqual(connection.pool.get_stats().get("requests_waiting", 0), 0)
            finally:
                connection.close()
                connection.close_pool()

    def test_the_transaction_of_a_handler_is_that_of_django(self):
        book = Book.objects.create(title="Emma")
        failed = lend_and_complete.enqueue(book=book.id, fail=True)
        work()
        book.refresh_from_db()
        self.assertEqual((app.task(failed).state, book.lent), ("failed", 0))
        self.run_alone(lend_and_complete, book=book.id)
        book.refresh_from_db()
        self.assertEqual(book.lent, 3)

    def test_the_middleware_and_the_lifespan_of_the_settings_are_used(self):
        measure.seen.clear()
        self.assertEqual(self.run_alone(shelf), 7)
        self.assertEqual(measure.seen, [("shelf", "succeeded")])
