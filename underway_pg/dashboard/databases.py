"""The databases of a dashboard: one, or several, between which a request chooses by an id or by a name."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ..connections import Dsn
from ..errors import DatabaseUnavailable, UnderwayError
from .database import Database

__all__ = ["Databases"]

# An id has the number of its database above so many bits.
_ID_BITS = 44


class Databases:
    """All databases by name. With `several`, pages show the name of the database, the shard, of what they list."""

    def __init__(self, dsns: Mapping[str, Dsn]) -> None:
        self.several = len(dsns) > 1
        self.all = {name: Database(dsn, name if self.several else "") for name, dsn in dsns.items()}
        self._numbers: dict[int, Database] = {}

    async def of(self, request: Request) -> Database | None:
        """The database of a request: the named one, else the home of the id in its path. None means all of several.

        A task that was moved keeps its id, so the name precedes it.
        Raises HTTPException 404 if there is no such database, and DatabaseUnavailable if the home cannot be found out.
        """
        if not self.several:
            return next(iter(self.all.values()))
        id, name = request.path_params.get("id"), request.query_params.get("shard")
        if name:
            if name not in self.all:
                raise HTTPException(404, f"There is no database {name}. Use one of {', '.join(self.all)}.")
            return self.all[name]
        return await self._home_of(id) if isinstance(id, int) else None

    async def _home_of(self, id: int) -> Database:
        number, away = id >> _ID_BITS, ""
        if number not in self._numbers:
            for database in self.all.values():
                try:
                    self._numbers[await database.number()] = database
                except (UnderwayError, psycopg.Error) as error:
                    away = f"{database.name}: {error}"
        if number in self._numbers:
            return self._numbers[number]
        if away:
            raise DatabaseUnavailable(f"the database of {id} may be one that cannot be reached, {away}")
        raise HTTPException(404, f"There is nothing with the id {id}: no database has the number {number}.")

    def close(self) -> None:
        """Close the idle connections of all."""
        for database in self.all.values():
            database.close()
