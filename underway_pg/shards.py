"""Several databases of one application: which of them an id belongs to, and one question to all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Self, TypeVar

import psycopg

from . import statements
from .client import execute
from .connections import SILENT_AFTER, Dsn, Pool, answer_within_sync, is_outage, unavailable
from .errors import ConfigurationError, DatabaseUnavailable, UnknownShard
from .statements import Statement

__all__ = ["Answers", "Shards"]

T = TypeVar("T")

# An id is the shard number of its database, shifted by so many bits, plus a number that the database counts up.
_ID_BITS = 44


@dataclass(frozen=True, kw_only=True)
class Answers(Generic[T]):
    """What the databases answered, and which could not be reached, by name in the order of the databases."""

    results: dict[str, T] = field(default_factory=dict)
    unreachable: dict[str, DatabaseUnavailable] = field(default_factory=dict)


class Shards:
    """The databases of an application by name. Connections are made when they are needed, and kept until `close`.

    `timeout`, in seconds, is for each call on one database; connecting may take as long again. `numbers` are the shard
    numbers of those databases whose numbers are known already.
    """

    def __init__(
        self,
        dsns: Mapping[str, Dsn],
        *,
        numbers: Mapping[str, int] | None = None,
        timeout: float = SILENT_AFTER,
        application_name: str = "underway client",
    ) -> None:
        self.dsns = dict(dsns)
        self._timeout = timeout
        self._pools = {name: Pool(dsn, application_name=application_name) for name, dsn in self.dsns.items()}
        self._numbers: dict[str, int] = dict(numbers or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The object can be used again."""
        for pool in self._pools.values():
            pool.drain()

    def home_of(self, id: int) -> str:
        """The name of the database that gave out the id of a task, batch, worker or event.

        Databases are asked for their numbers when the number of an id is not known yet. Raises UnknownShard when no
        database has that number, DatabaseUnavailable when one that might have it cannot be reached, and
        ConfigurationError when two databases have the same number.
        """
        number = id >> _ID_BITS
        unreachable = {} if number in self._numbers.values() else self._ask_numbers()
        for name, known in self._numbers.items():
            if known == number:
                return name
        unknown = [name for name in unreachable if name not in self._numbers]
        if unknown:
            raise DatabaseUnavailable(
                f"id {id} belongs to shard {number}, perhaps {' or '.join(unknown)}: {unreachable[unknown[0]]}"
            ) from unreachable[unknown[0]]
        shards = ", ".join(f"{name} ({number})" for name, number in self._numbers.items())
        raise UnknownShard(f"id {id} belongs to shard {number}, and no database has this number: {shards}")

    def _ask_numbers(self) -> dict[str, DatabaseUnavailable]:
        """Learn the numbers of all databases. Returns those that cannot be reached."""
        answers = self.ask_all(statements.shard())
        numbers = self._numbers | answers.results
        for name, number in numbers.items():
            others = [other for other in numbers if other != name and numbers[other] == number]
            if others:
                raise ConfigurationError(
                    f"the databases {name} and {others[0]} are both shard {number}; give each a number of its own with"
                    " `underway migrate --shard N`, before its first task"
                )
        self._numbers = numbers
        return answers.unreachable

    def ask_all(self, statement: Statement[T]) -> Answers[T]:
        """Run a statement on all databases at the same time. Those that cannot be reached do not delay the others."""
        return self.run_all(partial(_execute, statement=statement))

    def run_all(self, call: Callable[[psycopg.Connection[Any]], T]) -> Answers[T]:
        """Call a function with a connection to each database, in a thread each. Its connection has autocommit.

        Raises the first error that does not say that a database cannot be reached.
        """
        answers: Answers[T] = Answers()
        if not self._pools:
            return answers
        with ThreadPoolExecutor(len(self._pools)) as threads:
            running: dict[str, Future[T]] = {name: threads.submit(self.run, name, call) for name in self._pools}
        for name, future in running.items():
            try:
                answers.results[name] = future.result()
            except DatabaseUnavailable as error:
                answers.unreachable[name] = error
        return answers

    def run(self, name: str, call: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Call a function with a connection to one database. Raises DatabaseUnavailable."""
        with self._pools[name].connection(self._timeout) as connection:
            try:
                with answer_within_sync(self._timeout, connection):
                    return call(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if is_outage(error):
                    raise unavailable(error) from error
                raise


def _execute(connection: psycopg.Connection[Any], statement: Statement[T]) -> T:
    return execute(connection, statement)
