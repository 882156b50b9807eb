"""Enqueues of one event loop that wait at the same moment share a statement."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.py.support import SECONDS, Session, wait_until
from underway_pg import AsyncClient
from underway_pg.client.combiner import Combiner
from underway_pg.errors import DatabaseUnavailable, InputTooLarge, QueueNotFound
from underway_pg.settings import Options
from underway_pg.statements import Statement, enqueue

TRANSACTIONS = "select count(distinct xmin::text) from underway.task"
INSERTING = """
    select count(*) from pg_locks
    where relation = 'underway.task'::regclass and mode = 'RowExclusiveLock' and not granted"""


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        session.create_queue("q")
        yield session


@contextmanager
def inserts_blocked(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database) as blocker:
        blocker.execute("lock table underway.task in share mode")
        yield blocker


async def enqueue_while_blocked(
    database: str, session: Session, *calls: tuple[str, Any, Options], cancelled: int | None = None
) -> list[Any]:
    """The outcome of each call, after two single enqueues that were blocked while the calls were made."""
    async with AsyncClient(database) as client:
        with inserts_blocked(database) as blocker:
            first = [asyncio.create_task(client.enqueue("q", number)) for number in (-2, -1)]
            with ThreadPoolExecutor(1) as thread:
                await asyncio.get_running_loop().run_in_executor(
                    thread, lambda: wait_until(lambda: session.value(INSERTING) == 2, "two enqueues are blocked")
                )
            rest = [
                asyncio.create_task(client.enqueue(queue, input, options=options)) for queue, input, options in calls
            ]
            await asyncio.sleep(0)
            if cancelled is not None:
                rest[cancelled].cancel()
            blocker.rollback()
            await asyncio.gather(*first)
            return await asyncio.gather(*rest, return_exceptions=True)


PLAIN = Options()


def test_calls_that_wait_at_the_same_moment_share_one_transaction_and_each_has_its_own_id(
    database: str, session: Session
) -> None:
    ids = asyncio.run(enqueue_while_blocked(database, session, *(("q", number, PLAIN) for number in range(64))))
    inputs = dict(session.rows("select id, input from underway.task where input >= '0'"))
    assert [inputs[id] for id in ids] == list(range(64))
    assert session.value(TRANSACTIONS) == 3


def test_each_call_keeps_its_own_options(database: str, session: Session) -> None:
    session.create_queue("other")
    calls = [
        ("q", "urgent", Options(priority=7)),
        ("other", "traced", Options(headers={"trace": "a"})),
        ("q", "plain", PLAIN),
    ]
    ids = asyncio.run(enqueue_while_blocked(database, session, *calls))
    found = session.rows(
        "select queue, input, priority, headers from underway.task where id = any (%s) order by id", ids
    )
    assert found == [
        ("q", "urgent", 7, None), ("other", "traced", 0, {"trace": "a"}), ("q", "plain", 0, None)
    ]  # fmt: skip
    assert session.value(TRANSACTIONS) == 3


def test_a_call_that_is_refused_gets_its_own_error_and_the_others_their_ids(database: str, session: Session) -> None:
    calls = [("q", 0, PLAIN), ("q", "x" * 2_000_000, PLAIN), ("missing", 2, PLAIN), ("q", 3, PLAIN)]
    first, large, missing, last = asyncio.run(enqueue_while_blocked(database, session, *calls))
    assert isinstance(large, InputTooLarge)
    assert isinstance(missing, QueueNotFound)
    assert session.rows("select id, input from underway.task where input >= '0' order by id") == [(first, 0), (last, 3)]


def test_a_call_that_is_cancelled_while_it_waits_enqueues_nothing(database: str, session: Session) -> None:
    calls = [("q", number, PLAIN) for number in range(3)]
    outcomes = asyncio.run(enqueue_while_blocked(database, session, *calls, cancelled=1))
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert session.column("select input from underway.task where input >= '0' order by id") == [0, 2]


def test_a_call_with_a_unique_key_does_not_make_the_others_wait_for_that_key(database: str, session: Session) -> None:
    async def enqueue(client: AsyncClient) -> None:
        waiting = [asyncio.create_task(client.enqueue("q", "taken", options=Options(unique_key="k"))) for _ in range(2)]
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(client.enqueue("q", number) for number in range(20)))
        assert not any(task.done() for task in waiting)
        blocker.rollback()
        await asyncio.gather(*waiting)

    async def run() -> None:
        async with AsyncClient(database) as client:
            await enqueue(client)

    with psycopg.connect(database) as blocker:
        blocker.execute("select underway.enqueue('q', '\"first\"', unique_key => 'k')")
        asyncio.run(run())
    assert session.value("select count(*) from underway.task where input = '\"taken\"'") == 1


def test_an_outage_reaches_each_call_as_an_error_of_its_own() -> None:
    statements_run = 0

    async def unavailable(statement: Statement[Any]) -> Any:
        nonlocal statements_run
        statements_run += 1
        await asyncio.sleep(0)
        raise DatabaseUnavailable("the server is away")

    async def run() -> list[Any]:
        combiner = Combiner(unavailable, limit=2)
        calls = [combiner.enqueue(enqueue("q", number, None, PLAIN)) for number in range(20)]
        return await asyncio.gather(*calls, return_exceptions=True)

    errors = asyncio.run(run())
    assert all(isinstance(error, DatabaseUnavailable) for error in errors)
    assert len({id(error) for error in errors}) == 20
    assert statements_run == 3
