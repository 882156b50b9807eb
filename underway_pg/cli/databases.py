"""The databases of a command that shows or changes what is in one of them, or in several."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import psycopg
import typer
from psycopg.conninfo import conninfo_to_dict

from .. import connections
from ..errors import DatabaseRefusal, DatabaseUnavailable, TaskNotFound
from ..shardfile import read_shards
from ..shards import Shards
from .database import require_dsn
from .errors import WrongUsage
from .output import echo_json, echo_table, print_error

__all__ = ["Databases", "on_databases", "place_of"]

T = TypeVar("T")

# Seconds that one of several databases may take for its part of an answer.
_PATIENCE = 30.0

_DSNS = Annotated[
    list[str] | None,
    typer.Option(
        "--dsn", help="The database: a PostgreSQL URI. Default: DATABASE_URL. May be repeated, for all of several.",
        show_default=False, allow_from_autoenv=False,
    ),
]  # fmt: skip
_FILE = Annotated[
    Path | None,
    typer.Option(
        "--shards", metavar="FILE", help="All databases of this TOML file: [name], with number and dsn, for each.",
        show_default=False, allow_from_autoenv=False,
    ),
]  # fmt: skip


class Databases:
    """The databases of a command, by name. With several, what is shown has the name of its database, the shard.

    Those that cannot be reached are reported on stderr, a line each, and are in `unreachable`.
    """

    def __init__(self, dsns: Sequence[str] | None, file: Path | None) -> None:
        self.unreachable: dict[str, DatabaseUnavailable] = {}
        self._options = dsns, file
        self._names: dict[int | None, str | None] = {}  # by shard number, as far as they were asked for

    @functools.cached_property
    def _given(self) -> tuple[dict[str, str], dict[str, int]]:
        """The dsns and the shard numbers that the options give, by name. Read when the command first needs them."""
        dsns, file = self._options
        if file is not None:
            if dsns:
                raise WrongUsage("give --dsn or --shards, not both")
            shards = read_shards(file)
            return {each.name: each.dsn for each in shards}, {each.name: each.number for each in shards}
        found = [require_dsn(each) for each in dsns or [""]]
        named = {place_of(each): each for each in found}
        if len(named) < len(found):
            raise WrongUsage("--dsn names the same database twice")
        return named, {}

    @property
    def dsns(self) -> dict[str, str]:
        """Their dsns by name. Raises WrongUsage unless the options or the environment name one at least."""
        return self._given[0]

    @property
    def several(self) -> bool:
        """Whether there are several."""
        return len(self.dsns) > 1

    @contextmanager
    def connect(self, name: str) -> Iterator[psycopg.Connection[Any]]:
        """A connection to one of them."""
        with connections.connect(self.dsns[name]) as connection, connections.answer_while_alive(connection):
            yield connection

    def read(self, call: Callable[[psycopg.Connection[Any]], T], *, seconds: float = _PATIENCE) -> dict[str, T]:
        """What a function returns for each database that can be reached. With one it raises DatabaseUnavailable."""
        if not self.several:
            (name,) = self.dsns
            with self.connect(name) as connection:
                return {name: call(connection)}
        with self.shards(seconds) as shards:
            answers = shards.run_all(call)
        self.report(answers.unreachable)
        return answers.results

    def each(self) -> Iterator[tuple[str, psycopg.Connection[Any]]]:
        """Connect to one database after another, for long or writing work. Skips those that cannot be reached."""
        for name in self.dsns:
            try:
                connection = connections.connect(self.dsns[name])
            except DatabaseUnavailable as error:
                if not self.several:
                    raise
                self.report({name: error})
                continue
            with connection, connections.answer_while_alive(connection):
                yield name, connection

    def shards(self, seconds: float = _PATIENCE, application_name: str = "underway") -> Shards:
        """Connections to all of them."""
        return Shards(self.dsns, numbers=self._given[1], timeout=seconds, application_name=application_name)

    def home_of(self, id: int) -> str:
        """The database of the task with this id. Raises DatabaseUnavailable and UnknownShard."""
        if not self.several:
            return next(iter(self.dsns))
        with self.shards() as shards:
            return shards.home_of(id)

    def with_task(self, id: int, call: Callable[[psycopg.Connection[Any]], T]) -> T:
        """What a function returns with a connection to the database that has a task: its home, or where it was moved.

        The function raises TaskNotFound if its database does not have the task.
        """
        name: str | None = self.home_of(id)
        for _ in self.dsns:  # it may have been moved several times
            assert name is not None
            with self.connect(name) as connection:
                try:
                    return call(connection)
                except TaskNotFound as error:
                    missing = error
            name = self.moved_to(missing)
            if name is None:
                break
        raise missing

    def moved_to(self, error: DatabaseRefusal) -> str | None:
        """Which of several databases has the task that another one refused because it was moved; None if none has."""
        number = error.moved_to if isinstance(error, TaskNotFound) and self.several else None
        if number is not None and number not in self._names:
            with self.shards() as shards:
                self._names[number] = shards.with_number(number)
        return self._names.get(number)

    def by_home(self, ids: Sequence[int]) -> tuple[dict[str, list[int]], dict[int, str]]:
        """Ids of tasks by their databases, and why an id has none that can be reached."""
        if not self.several:
            return {next(iter(self.dsns)): list(ids)}, {}
        with self.shards() as shards:
            homes, without = shards.by_home(ids)
        return homes, {id: str(error) for id, error in without.items()}

    def report(self, unreachable: Mapping[str, DatabaseUnavailable]) -> None:
        """Say which of several databases cannot be reached. If none can, the command ends."""
        for name, error in unreachable.items():
            if name not in self.unreachable:
                print_error(f"{name}: {error}")
        self.unreachable |= unreachable
        if len(self.unreachable) == len(self.dsns):
            raise typer.Exit(1)

    def show(
        self, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[object]]], empty: str = "", *,
        err: bool = False,
    ) -> None:  # fmt: skip
        """Print a table of rows, each given with its database, which is the first column if there are several."""
        if self.several:
            echo_table(["shard", *columns], [[shard, *row] for shard, row in rows], empty, err=err)
        else:
            echo_table(columns, [row for _, row in rows], empty, err=err)

    def show_json(self, name: str, items: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Print objects as an array; with several databases as an object with this array and `unreachable`."""
        if self.several:
            echo_json(self.with_unreachable({name: [{"shard": shard, **item} for shard, item in items]}))
        else:
            echo_json([item for _, item in items])

    def with_unreachable(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """An object for JSON. With several databases it has `unreachable`: their names, and why."""
        if not self.several:
            return value
        reasons = {name: " ".join(str(error).split()) for name, error in self.unreachable.items()}
        return {**value, "unreachable": reasons}


def place_of(dsn: str) -> str:
    """The host and the database of a dsn, which has no name: host:port/database, without the usual port."""
    parts = conninfo_to_dict(dsn)
    port = str(parts.get("port") or 5432)
    return f"{parts.get('host') or 'localhost'}{'' if port == '5432' else f':{port}'}/{parts.get('dbname') or ''}"


def on_databases(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--dsn` and `--shards` in place of its parameter `databases`.

    Its exit code is 1 if a database that it needed could not be reached.
    """
    signature = inspect.signature(command, eval_str=True)
    options = [
        inspect.Parameter("dsn", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_DSNS),
        inspect.Parameter("shards", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_FILE),
    ]
    kept: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        replaced = options if parameter.name == "databases" else [parameter]
        kept += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in replaced]

    @functools.wraps(command)
    def run(*, dsn: list[str] | None = None, shards: Path | None = None, **arguments: Any) -> None:
        databases = Databases(dsn, shards)
        command(databases=databases, **arguments)
        if databases.unreachable:
            raise typer.Exit(1)

    run.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in kept}
    return run
