"""VACUUM of the tables of the queue, between the visits of autovacuum."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from .. import connections
from .settings import WorkerSettings

__all__ = ["Vacuum"]

logger = logging.getLogger(__name__)

_KEEP_OPEN = 10.0  # seconds

# The owner may, and from PostgreSQL 17 on whoever has MAINTAIN.
_MAY_VACUUM = """
    select pg_has_role(c.relowner, 'usage')
        or current_setting('server_version_num')::integer >= 170000 and has_table_privilege(c.oid, 'maintain')
    from pg_class c
    where c.oid = 'underway.task'::regclass"""


class Vacuum:
    """Vacuums the tables that `request` names, over a connection of its own, which is open only while there is work."""

    def __init__(self, dsn: connections.Dsn, name: str, settings: WorkerSettings) -> None:
        self._dsn = dsn
        self._name = name
        self._is_wanted = asyncio.Event()
        self._tables: Sequence[str] = ()
        self._enabled = settings.vacuum

    def request(self, tables: Sequence[str]) -> None:
        """Vacuum these tables soon. Does nothing for an empty list, and where the role may not vacuum."""
        if tables and self._enabled:
            self._tables = tables
            self._is_wanted.set()

    async def run(self) -> None:
        """Vacuum what is requested, until this is cancelled."""
        while True:
            await self._is_wanted.wait()
            try:
                await self._vacuum()
            except psycopg.Error as error:
                # The dead rows stay, and are found again at the next maintenance.
                logger.debug("worker %s: vacuum failed: %s", self._name, str(error).strip())
                self._is_wanted.clear()

    async def _vacuum(self) -> None:
        application_name = f"underway worker {self._name} vacuum"
        async with await connections.connect_async(self._dsn, application_name=application_name) as connection:
            with connections.answer_while_alive(connection):
                await self._vacuum_over(connection)

    async def _vacuum_over(self, connection: psycopg.AsyncConnection[Any]) -> None:
        if not await self._may_vacuum(connection):
            return
        while True:
            try:
                async with asyncio.timeout(_KEEP_OPEN):
                    await self._is_wanted.wait()
            except TimeoutError:
                return
            self._is_wanted.clear()
            for table in self._tables:
                # Waits for no lock. To truncate the end of the table would need an exclusive one.
                await connection.execute(
                    sql.SQL("vacuum (skip_locked, truncate off, parallel 0) {}").format(
                        sql.Identifier("underway", table)
                    )
                )

    async def _may_vacuum(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        found = await (await connection.execute(_MAY_VACUUM)).fetchone()
        if found is None or not found[0]:
            self._enabled = False
            self._is_wanted.clear()
            logger.warning(
                "worker %s: tables of the queue have many dead rows, and this role may not vacuum them; "
                "set autovacuum_naptime to 5s, or grant the rights of the owner of the schema underway",
                self._name,
            )
        return self._enabled
