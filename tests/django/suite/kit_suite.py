"""The testing kit runs tasks in the transaction of a TestCase."""

from django.test import TestCase
from library.models import Book
from library.tasks import add, add_async, app, lend_and_complete, lend_book, lend_book_async

from suite.support import states
from underway_pg.testing import run_pending, run_pending_async


class TestingKit(TestCase):
    def lent(self, book):
        book.refresh_from_db()
        return book.lent

    def test_plain_handlers_see_the_transaction_of_the_test(self):
        book = Book.objects.create(title="Emma")
        lend_book.enqueue(book=book.id)
        add.enqueue(1)
        run_pending(app)
        self.assertEqual((self.lent(book), [state for _, state in states()]), (1, ["succeeded"] * 2))
        lend_and_complete.enqueue(book=book.id)
        run_pending(app)
        self.assertEqual((self.lent(book), [state for _, state in states()]), (3, ["succeeded"] * 3))

    def test_async_handlers_see_the_transaction_of_the_test(self):
        book = Book.objects.create(title="Emma")
        lend_book_async.enqueue(book=book.id)
        add_async.enqueue(1, 2)
        run_pending(app)
        self.assertEqual((self.lent(book), [state for _, state in states()]), (2, ["succeeded"] * 2))

    async def test_an_async_test_runs_async_handlers_in_its_transaction(self):
        book = await Book.objects.acreate(title="Emma")
        await lend_book_async.enqueue_async(book=book.id)
        await run_pending_async(app)
        await book.arefresh_from_db()
        self.assertEqual(book.lent, 2)
