"""The testing kit in tests of Django: tasks run in the transaction of the test, plain and async ones."""

from django.test import TestCase, TransactionTestCase
from library.models import Book
from library.tasks import app, lend_and_complete, lend_book, lend_book_async

from underway_pg.testing import (
    Clock,
    assert_enqueued,
    assert_enqueued_async,
    enqueued,
    enqueued_async,
    install,
    run_pending,
    run_pending_async,
    uninstall,
)


def setUpModule():
    install(app.dsn)  # the test database of Django


def tearDownModule():
    uninstall(app.dsn)


class KitInTestCase(TestCase):
    def test_handlers_see_what_the_test_has_not_committed(self):
        book = Book.objects.create(title="Emma")
        for job in (lend_book, lend_book_async, lend_and_complete):
            job.enqueue(book=book.id)
            assert_enqueued(job, book=book.id, times=1)
            [ran] = run_pending(job, within="default")
            self.assertEqual(ran.outcome, "succeeded")
        book.refresh_from_db()
        self.assertEqual(book.lent, 3)

    def test_the_clock_stops_in_the_transaction_of_the_test(self):
        book = Book.objects.create(title="Emma")
        lend_book.options(delay=3600).enqueue(book=book.id)
        with Clock(within="default") as clock:
            self.assertEqual(run_pending(lend_book), [])
            clock.move(hours=1)
            self.assertEqual(len(run_pending(lend_book)), 1)

    async def test_async_tests_have_the_transaction_too(self):
        book = await Book.objects.acreate(title="Emma")
        for job in (lend_book, lend_book_async):
            await job.enqueue_async(book=book.id)
            await assert_enqueued_async(job, book=book.id)
            [ran] = await run_pending_async(app)
            self.assertEqual(ran.outcome, "succeeded")
        await book.arefresh_from_db()
        self.assertEqual((book.lent, await enqueued_async(lend_book)), (2, []))


class KitInTransactionTestCase(TransactionTestCase):
    def test_committed_tasks_run_too(self):
        book = Book.objects.create(title="Emma")
        lend_book.enqueue(book=book.id)
        self.assertEqual(len(run_pending(app)), 1)
        self.assertEqual((Book.objects.get().lent, enqueued(lend_book)), (1, []))
