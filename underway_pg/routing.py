"""The databases of an application that has several: which one a task goes to, and which one an id belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn, TypeAlias, TypeVar

from .binding import Binding
from .checks import check_kind
from .client import AsyncClient, Client
from .connections import Dsn
from .errors import ConfigurationError, DatabaseUnavailable, ShardsUnavailable, UnknownShard
from .models import TaskInfo
from .settings import NewTask, Schedule
from .shards import Answers, Shards, call_each
from .statements import Statement

__all__ = ["EVERY", "Routing", "ShardOf", "check_shards"]

T = TypeVar("T")

ShardOf: TypeAlias = Callable[[str | None, Any], str]
"""Takes the name of the job and the input of a task, as it is stored, and returns the name of the database for it."""

# The shard of a schedule that is written to all databases.
EVERY = "every"


def check_shards(dsns: Mapping[str, Dsn] | None, shard_of: ShardOf | None, home: str | None) -> None:
    """Check what an application is given for several databases."""
    if dsns is None:
        if shard_of is not None or home is not None:
            raise ConfigurationError("shard_of and home are for an application with several databases: give it dsns")
        return
    wanted = "the databases by name, as in {'eu': 'postgresql://...', 'us': 'postgresql://...'}"
    check_kind("dsns", dsns, Mapping, wanted)
    if not dsns or not all(isinstance(name, str) for name in dsns) or {"", EVERY} & dsns.keys():
        raise ConfigurationError(f"dsns has the names {list(dsns)}; give {wanted}, and none of them {EVERY!r}")
    for name, dsn in dsns.items():
        check_kind(f"the dsn of {name}", dsn, (str, Callable), "a URI, or a function that returns one")
    if shard_of is not None:
        check_kind("shard_of", shard_of, Callable, "a function of the name of a job and its input")
    if home is not None and home not in dsns:
        raise ConfigurationError(f"home is {home!r}; give one of {', '.join(dsns)}")


class Routing:
    """The databases of an application by name, in the place of the one `Binding` of an application with one."""

    within: Any = None
    given_dsn: Dsn | None = None
    has_dsn = True
    _pool = _async_pool = None

    def __init__(self, bindings: Mapping[str, Binding], shard_of: ShardOf | None, home: str) -> None:
        self._bindings = dict(bindings)
        self._shard_of = shard_of
        self._home = home
        self._shards = Shards({name: binding.dsn for name, binding in bindings.items()})

    def close(self) -> None:
        """Close the connections to all databases."""
        for binding in self._bindings.values():
            binding.close()

    @property
    def is_used(self) -> bool:
        """Whether something was connected to one of the databases."""
        return any(binding.is_used for binding in self._bindings.values())

    # The database of a name. None of them is the one database of the application

    def of(self, shard: str) -> Binding:
        """The database of this name."""
        return self._bindings[shard]

    def _refuse_one(self) -> NoReturn:
        raise ConfigurationError(
            f"the application has several databases ({', '.join(self._bindings)}): say which, as in"
            f" app.shard({self._home!r}).client; .dsn, .sync(), .migrate() and .worker() likewise. `underway worker"
            " MODULE:APP` serves all of them"
        )

    @property
    def dsn(self) -> Dsn:
        """Raises ConfigurationError, because there is no single one."""
        self._refuse_one()

    @property
    def client(self) -> Client:
        """Raises ConfigurationError, because there is no single one."""
        self._refuse_one()

    async def async_client(self) -> AsyncClient:
        """Raises ConfigurationError, because there is no single one."""
        self._refuse_one()

    # The database of a new task

    def run(self, statement: Statement[T], connection: Any = None) -> T:
        """Enqueue tasks, or store a schedule, on the caller's connection or in the database that they belong to."""
        return self._target(statement, connection).run(statement, connection)

    async def run_async(self, statement: Statement[T], connection: Any = None) -> T:
        """Enqueue tasks, or store a schedule, in async code."""
        return await self._target(statement, connection).run_async(statement, connection)

    def _target(self, statement: Statement[Any], connection: Any) -> Binding:
        if connection is not None or statement.enqueues is None:
            return self._bindings[self._home]  # any: the task is where the connection is
        names = dict.fromkeys(map(self._shard, statement.enqueues()))
        if len(names) > 1:
            raise ConfigurationError(
                f"these tasks belong to several databases ({', '.join(names)}), and one call enqueues all or none; make"
                " a call for each database"
            )
        return self._bindings[next(iter(names), self._home)]

    def _shard(self, new: NewTask | Schedule) -> str:
        what = f"job {new.job}" if new.job else f"queue {new.queue}"
        if isinstance(new, Schedule):
            name = new.shard or new.options.shard or self._home
        elif new.options.shard is not None:
            name = new.options.shard
        else:
            if self._shard_of is None:
                raise ConfigurationError(
                    f"{what}: the application has several databases ({', '.join(self._bindings)}). Say where the task"
                    f" belongs: by on_shard({self._home!r}).enqueue(...), by using(connection), or by a function,"
                    " App(shard_of=...)"
                )
            name = self._shard_of(new.job, new.input)
        if name not in self._bindings:
            raise ConfigurationError(
                f"{what}: the shard is {name!r}, and the databases of the application are {', '.join(self._bindings)}"
            )
        return name

    # The database of an id

    def client_of(self, id: int) -> Client:
        """The client for plain code of the database that has the task, batch or worker with this id."""
        return self._bindings[self._shards.home_of(id)].client

    async def async_client_of(self, id: int) -> AsyncClient:
        """The client for async code of the database that has the task, batch or worker with this id."""
        name = self._shards.known_home_of(id)
        if name is None:
            name = await asyncio.to_thread(self._shards.home_of, id)
        return await self._bindings[name].async_client()

    def wait_for_many(self, tasks: Iterable[int], timeout: float | None) -> dict[int, TaskInfo]:
        """Wait for tasks in all their databases at the same time.

        Raises ShardsUnavailable, with how the other tasks ended, when a database cannot be reached.
        """
        tasks = list(tasks)
        homes, without = self._shards.by_home(tasks)
        waits = {name: partial(self._bindings[name].wait_for_many, ids, timeout) for name, ids in homes.items()}
        return _together(tasks, call_each(waits), without)

    async def wait_for_many_async(self, tasks: Iterable[int], timeout: float | None) -> dict[int, TaskInfo]:
        """Wait for tasks in all their databases at the same time, in async code."""
        tasks = list(tasks)
        homes, without = await asyncio.to_thread(self._shards.by_home, tasks)
        waits = (self._bindings[name].wait_for_many_async(ids, timeout) for name, ids in homes.items())
        answers = await asyncio.gather(*waits, return_exceptions=True)
        return _together(tasks, Answers.of(zip(homes, answers, strict=True)), without)


def _together(
    tasks: list[int],
    answers: Answers[dict[int, TaskInfo]],
    without: Mapping[int, DatabaseUnavailable | UnknownShard],
) -> dict[int, TaskInfo]:
    """How tasks of several databases ended. `without` has the errors of those whose database is not known."""
    unreachable = dict(answers.unreachable)
    for task, error in without.items():
        if not isinstance(error, DatabaseUnavailable):
            raise error
        unreachable[f"of task {task}"] = error
    found = {id: info for final in answers.results.values() for id, info in final.items()}
    final = {task: found[task] for task in tasks if task in found}
    if unreachable:
        raise ShardsUnavailable(unreachable, final)
    return final
