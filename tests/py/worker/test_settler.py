"""How results are sent: in bounded batches, and a bad one fails alone. No database."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from tests.py.worker.test_deadlines import attempt
from underway_pg.errors import DatabaseRefusal
from underway_pg.statements import Statement
from underway_pg.worker.attempt import Attempt
from underway_pg.worker.settings import WorkerSettings
from underway_pg.worker.settler import Settler
from underway_pg.worker.shared import Shared


class Refusing:
    """A database that refuses statements with results of some tasks."""

    def __init__(self, bad: set[int], error: Exception) -> None:
        self.bad = bad
        self.error = error
        self.calls: list[list[int]] = []

    async def report(self, statement: Statement[Any]) -> list[int]:
        ids = [int(id) for id in statement.parameters["tasks"].strip("{}").split(",")]
        self.calls.append(ids)
        if self.bad & set(ids):
            raise self.error
        return ids


class Told:
    def __init__(self) -> None:
        self.refusals: list[int] = []
        self.lost_tasks: list[int] = []

    def failed(self, result: Any, settled: Any) -> None: ...

    def lost(self, attempt: Attempt) -> None:
        self.lost_tasks.append(attempt.task.id)

    def refused(self, attempt: Attempt, error: Exception) -> None:
        self.refusals.append(attempt.task.id)


def settle(database: Any, outputs: dict[int, str], **settings: Any) -> Told:
    async def main() -> Told:
        shared = Shared.of(WorkerSettings(queues="q", **settings), "w", database, {})
        told = Told()
        settler = Settler(shared, told)
        for id, output in outputs.items():
            one = attempt(id)
            one.task = one.task._replace(lease=bytes(16))
            settler.succeeded.append((one, output))
        shared.stops = 1
        shared.claiming = True
        shared.settle_wanted.set()
        running = asyncio.create_task(settler.run())
        while settler.succeeded or len(database.calls) == 0:
            await asyncio.sleep(0)
        shared.claiming = False
        shared.settle_wanted.set()
        await running
        return told

    return asyncio.run(main())


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.ProgramLimitExceeded("too large"),
        psycopg.errors.StatementTooComplex("too deep"),
        psycopg.errors.UntranslatableCharacter("no such character"),
        psycopg.errors.RaiseException("a trigger"),
        DatabaseRefusal("refused"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_one_result_that_is_refused_does_not_hold_up_the_others_and_costs_few_statements(error: Exception) -> None:
    if isinstance(error, DatabaseRefusal):
        error.sqlstate = "UW014"  # type: ignore[misc]
    database = Refusing({7}, error)
    told = settle(database, dict.fromkeys(range(1000), "1"))
    assert told.refusals == [7]
    assert told.lost_tasks == []
    assert len(database.calls) < 25


def test_a_batch_is_bounded_in_bytes_and_a_larger_result_is_sent_alone() -> None:
    database = Refusing(set(), ValueError())
    settle(database, {1: "x" * 10, 2: "x" * 10, 3: "x" * 10, 4: "x" * 100, 5: ""}, max_settlement_bytes=25)
    assert database.calls == [[1, 2], [3], [4], [5]]


def test_an_error_of_the_schema_is_not_blamed_on_a_result() -> None:
    with pytest.raises(psycopg.errors.UndefinedFunction):
        settle(Refusing({1}, psycopg.errors.UndefinedFunction("gone")), {1: "1"})
