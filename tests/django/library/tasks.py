"""The jobs and tasks that the tests enqueue."""

import asyncio

import psycopg
from asgiref.sync import sync_to_async
from django.db import connection

from library.models import Book

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task

import underway_pg as underway
from underway_pg import Context, Fatal
from underway_pg.django import app

blueprint = underway.Blueprint()


@app.job(queue="quick")
def lend_book(book: int) -> int:
    Book.objects.filter(id=book).update(lent=1)
    return Book.objects.get(id=book).lent


@app.job(queue="quick")
async def lend_book_async(book: int) -> int:
    found = await Book.objects.aget(id=book)
    found.lent = 2
    await found.asave()
    return found.lent


def backend() -> int:
    """The process of the server that this thread's connection has."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return cursor.fetchone()[0]


@app.job(queue="quick")
def session(fail: bool = False) -> int:
    if fail:
        raise Fatal(str(backend()))
    return backend()


waiting = []


@app.job(queue="quick")
async def meet() -> int:
    """Wait until two handlers use their connections at once."""
    found = await sync_to_async(backend)()
    waiting.append(asyncio.Event())
    if len(waiting) == 2:
        for each in waiting:
            each.set()
    await asyncio.wait_for(waiting[-1].wait(), 10)
    return found


@app.job(queue="quick")
def break_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(pg_backend_pid())")


@app.job(queue="quick")
def end_own_session() -> None:
    """As a restart of the server does while the handler's thread is idle."""
    with psycopg.connect(app.dsn) as other:
        other.execute("select pg_terminate_backend(%s)", [backend()])


@app.job(queue="quick")
def lend_and_complete(context: Context, book: int, fail: bool = False) -> None:
    with context.transaction():
        Book.objects.filter(id=book).update(lent=3)
        if fail:
            raise Fatal("inside the transaction")


@app.job(queue="quick", executor="process")
def lend_in_process(book: int) -> str:
    Book.objects.filter(id=book).update(lent=4)
    return connection.settings_dict["NAME"]


@app.job(queue="quick")
def shelf(context: Context) -> int:
    return context.state["shelf"]


@blueprint.job(queue="quick")
def count_books() -> int:
    return Book.objects.count()


@app.schedule("@daily")
@app.job(queue="quick")
def close_library() -> None: ...


@task
def add(one, other=0):
    return one + other


@task(queue_name="email", priority=7)
def send(to):
    return to.upper()


@task
async def add_async(one, other):
    await asyncio.sleep(0)
    return one + other


@task(takes_context=True)
def describe(context, text):
    return [text, context.attempt, context.task_result.id, str(context.task_result.status)]


class NoShelf(Exception):
    pass


@task
def fail():
    raise NoShelf("no shelf is free")


@task(takes_context=True)
def fail_once(context):
    if context.attempt == 1:
        raise NoShelf("not yet")
    return "now"


@task
def not_json():
    return object()


def not_a_task(): ...
