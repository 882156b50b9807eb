"""The ledger: who offered and who ran what, in files apart from the database; and all the evidence, read again.

Each process has a file of its own, opened for appending, and a line is one `write`: a process that is killed leaves
whole lines. Times in it are those of the monotonic clock, in seconds, which all processes of a machine share and which
nobody sets. What the database says of itself comes from the triggers in schema.sql, written in the transactions that
move the tasks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg


class Ledger:
    """The file of one process."""

    def __init__(self, directory: Path, name: str) -> None:
        path = directory / f"{name}-{os.getpid()}-{time.monotonic_ns()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, what: str, **facts: Any) -> None:
        line = json.dumps({"what": what, "at": time.monotonic(), **facts}) + "\n"
        os.write(self._file, line.encode())

    def close(self) -> None:
        os.close(self._file)


@dataclass
class Batch:
    """Tasks that were enqueued in one transaction. `numbers` are theirs in all of a run, as ids need not be.

    `committed_at` is None when nobody knows whether it was: the connection broke at the commit.
    """

    numbers: list[int]
    committed_at: float | None = None


@dataclass
class Run:
    """A handler that was begun. `ended_at` is None when it never said how it ended, as when its worker was killed."""

    task: int
    lease: str
    attempt: int
    queue: str
    key: str | None
    begun_at: float
    ended_at: float | None = None
    returned: bool = False


@dataclass(frozen=True)
class Transition:
    """A committed change of a live task, in the order in which a task went through them.

    `verb` is the function of Underway that the client called, and `client` the worker that called it.
    """

    task: int
    verb: str
    at: float
    before: str | None
    after: str
    attempt: int
    lease: str | None
    expires_at: float | None
    queue: str
    key: str | None
    client: str


@dataclass(frozen=True)
class Final:
    """A task in the history; `number` is None for what no producer offered."""

    task: int
    number: int | None
    job: str
    state: str
    attempt: int
    lapsed: int


@dataclass
class Evidence:
    """All that is known at the end of a run."""

    batches: list[Batch] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    history: list[Final] = field(default_factory=list)
    live: list[int] = field(default_factory=list)  # by number, like the effects
    effects: list[int] = field(default_factory=list)
    dead_letters: list[int] = field(default_factory=list)


def read(directory: Path, dsn: str) -> Evidence:
    """Everything from the files and from the database."""
    evidence = Evidence()
    _read_files(directory, evidence)
    with psycopg.connect(dsn, autocommit=True) as connection:
        _read_database(connection, evidence)
    return evidence


def lines(directory: Path) -> Iterator[dict[str, Any]]:
    """The lines of all files, each file in its order."""
    for path in sorted(directory.glob("*.jsonl")):
        with path.open() as file:
            yield from map(json.loads, file)


def _read_files(directory: Path, evidence: Evidence) -> None:
    batches: dict[int, Batch] = {}
    runs: dict[tuple[int, str], Run] = {}
    for line in lines(directory):
        match line["what"]:
            case "offered":
                batches[line["numbers"][0]] = Batch(line["numbers"])
            case "committed":
                batches[line["first"]].committed_at = line["at"]
            case "begin":
                of_task = {name: line[name] for name in ("task", "lease", "attempt", "queue", "key")}
                run = Run(**of_task, begun_at=line["at"])
                evidence.runs.append(run)
                runs[run.task, run.lease] = run
            case "returned" | "raised":
                run = runs[line["task"], line["lease"]]
                run.ended_at = run.ended_at or line["at"]
                run.returned = line["what"] == "returned"
    evidence.batches = list(batches.values())


def _read_database(connection: psycopg.Connection[Any], evidence: Evidence) -> None:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql.encode()).fetchall()

    # The clock of the database is that of this machine too, with another beginning. The answer that came soonest after
    # it was read says best when that was.
    began = max(
        rows("select extract(epoch from clock_timestamp())::float8")[0][0] - time.monotonic() for _ in range(10)
    )
    moved = connection.execute(
        """select task, verb, extract(epoch from at)::float8 - %(began)s, before, after, attempt,
            replace(lease::text, '-', ''), extract(epoch from expires_at)::float8 - %(began)s, queue, concurrency_key,
            client
        from chaos.transition order by seq""",
        {"began": began},
    ).fetchall()
    evidence.transitions = [Transition(*row) for row in moved]
    finished = rows(
        """select id, (input ->> 'n')::int, job, state::text, attempt, (
            select count(*) from jsonb_array_elements(errors) error where error ->> 'type' = 'LeaseLapsed')
        from underway.task_history"""
    )
    evidence.history = [Final(*row) for row in finished]
    evidence.live = [n for (n,) in rows("select (input ->> 'n')::int from underway.task where dead_letter is null")]
    evidence.effects = [n for (n,) in rows("select n from chaos.effect")]
    evidence.dead_letters = [
        task
        for (task,) in rows("select (dead_letter ->> 'task')::int from underway.task where dead_letter is not null")
    ]
