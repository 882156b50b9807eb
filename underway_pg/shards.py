"""Several databases of one application: which of them an id belongs to, and one question to all at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, Self, TypeVar

import psycopg

from . import statements
from .client import execute
from .connections import SILENT_AFTER, Dsn, Pool, answer_within_sync, is_outage, unavailable
from .errors import ConfigurationError, DatabaseUnavailable, UnknownShard
from .statements import Statement

__all__ = ["Answers", "Shards", "call_each"]

T = TypeVar("T")

# An id is the shard number of its database, shifted by so many bits, plus a number that the database counts up.
_ID_BITS = 44


@dataclass(frozen=True, kw_only=True)
class Answers(Generic[T]):
    """What the databases answered, and which could not be reached, by name in the order of the databases."""

    results: dict[str, T] = field(default_factory=dict)
    unreachable: dict[str, DatabaseUnavailable] = field(default_factory=dict)

    @classmethod
    def of(cls, outcomes: Iterable[tuple[str, T | BaseException]]) -> Answers[T]:
        """Sort what the databases returned or raised. Raises the first error that is no DatabaseUnavailable."""
        answers: Answers[T] = cls()
        for name, outcome in outcomes:
            if isinstance(outcome, DatabaseUnavailable):
                answers.unreachable[name] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                answers.results[name] = outcome
        return answers


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
        home = self.known_home_of(id)
        if home is not None:
            return home
        number, unreachable = id >> _ID_BITS, self._ask_numbers()
        home = self.known_home_of(id)
        if home is not None:
            return home
        unknown = [name for name in unreachable if name not in self._numbers]
        if unknown:
            raise DatabaseUnavailable(
                f"id {id} belongs to shard {number}, perhaps {' or '.join(unknown)}: {unreachable[unknown[0]]}"
            ) from unreachable[unknown[0]]
        shards = ", ".join(f"{name} ({number})" for name, number in self._numbers.items())
        raise UnknownShard(f"id {id} belongs to shard {number}, and no database has this number: {shards}")

    def by_home(self, ids: Iterable[int]) -> tuple[dict[str, list[int]], dict[int, DatabaseUnavailable | UnknownShard]]:
        """The ids of each database; and of the other ids the error of `home_of`."""
        homes: dict[str, list[int]] = {}
        without: dict[int, DatabaseUnavailable | UnknownShard] = {}
        found: dict[int, str | DatabaseUnavailable | UnknownShard] = {}  # by number, so that each is asked for once
        for id in ids:
            number = id >> _ID_BITS
            if number not in found:
                try:
                    found[number] = self.home_of(id)
                except (DatabaseUnavailable, UnknownShard) as error:
                    found[number] = error
            home = found[number]
            if isinstance(home, str):
                homes.setdefault(home, []).append(id)
            else:
                without[id] = home
        return homes, without

    def known_home_of(self, id: int) -> str | None:
        """The same without asking a database; None if no database is known to have the number."""
        return self._with_known(id >> _ID_BITS)

    def with_number(self, number: int) -> str | None:
        """The name of the database with this shard number; None if no database that can be reached has it."""
        found = self._with_known(number)
        if found is None:
            self._ask_numbers()
            found = self._with_known(number)
        return found

    def _with_known(self, number: int) -> str | None:
        return next((name for name, known in self._numbers.items() if known == number), None)

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
        return call_each({name: partial(self.run, name, call) for name in self._pools})

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


def call_each(calls: Mapping[str, Callable[[], T]]) -> Answers[T]:
    """Call functions at the same time, each for the database of its name.

    Raises the first error that does not say that a database cannot be reached. Daemon threads: an interruption by
    Ctrl-C waits for none of them.
    """
    ended: SimpleQueue[tuple[str, T | BaseException]] = SimpleQueue()

    def run(name: str, call: Callable[[], T]) -> None:
        try:
            ended.put((name, call()))
        except BaseException as error:
            ended.put((name, error))

    for name, call in calls.items():
        threading.Thread(target=run, args=(name, call), name=f"underway-{name}", daemon=True).start()
    outcomes = dict(ended.get() for _ in calls)
    return Answers.of((name, outcomes[name]) for name in calls)


def _execute(connection: psycopg.Connection[Any], statement: Statement[T]) -> T:
    return execute(connection, statement)
