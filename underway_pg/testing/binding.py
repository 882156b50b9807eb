"""Which application a test uses, and where the statements of the testing kit run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from ..app import App
from ..client import execute, execute_async
from ..errors import ConfigurationError
from ..job import BoundJob
from ..statements import Statement

__all__ = ["AnyJob", "Place", "bind"]

T = TypeVar("T")

AnyJob: TypeAlias = BoundJob[Any, Any] | str

_BOUND: list[App] = []


@contextmanager
def bind(app: App, *, dsn: str | None = None) -> Iterator[App]:
    """Make an application the one that the functions of this package use in the block, bound to a test database.

    Without a `dsn` it stays with its own database.
    """
    # A stand-in until App.override is there.
    before = app._dsn, app._pool, app._async_pool, app._use_embedded
    if dsn is not None:
        app.close()
        app._dsn, app._pool, app._async_pool, app._use_embedded = dsn, None, None, False
    _BOUND.append(app)
    try:
        yield app
    finally:
        _BOUND.remove(app)
        if dsn is not None:
            app.close()
            app._dsn, app._pool, app._async_pool, app._use_embedded = before


@dataclass(frozen=True)
class Place:
    """Where statements run: `within` a connection or session of the test, else on connections of the application."""

    within: Any
    _app: App | None

    @classmethod
    def of(cls, target: App | AnyJob | None, within: Any) -> Place:
        """The place for an application, for a job, which has one, or for the application that is bound."""
        if isinstance(target, BoundJob):
            app: Any = target.job.app
            return cls(target._connection if within is None else within, app)
        bound = _BOUND[-1] if _BOUND else None
        return cls(within, target if isinstance(target, App) else bound)

    @property
    def app(self) -> App:
        """The application. Raises ConfigurationError if none is given and none is bound."""
        if self._app is None:
            raise ConfigurationError(
                "no application is bound to a test database: use the fixture `underway`, or"
                " `with underway_pg.testing.bind(app, dsn=...)`"
            )
        return self._app

    def run(self, statement: Statement[T]) -> T:
        """Run a statement."""
        return self.app.client.run(statement) if self.within is None else execute(self.within, statement)

    async def run_async(self, statement: Statement[T]) -> T:
        """Run a statement, in async code."""
        if self.within is None:
            return await (await self.app.async_client()).run(statement)
        return await execute_async(self.within, statement)
