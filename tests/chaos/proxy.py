"""A proxy before the database that can fall silent: it forwards nothing any more, and closes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict


class Proxy:
    """Listens on a port of localhost and forwards to the server of a dsn, in a thread of its own."""

    def __init__(self, dsn: str) -> None:
        self.port = 0
        self._target = conninfo_to_dict(dsn)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._flowing: set[asyncio.Event] = set()
        self._silent = False
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def dsn(self) -> str:
        """The way to the database through here."""
        return f"postgresql://{self._target['user']}@localhost:{self.port}/{quote(str(self._target['dbname']))}"

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = str(self._target["host"]), int(self._target["port"] or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    def fall_silent(self) -> None:
        """Forward nothing from now on, of connections old and new."""
        self._loop.call_soon_threadsafe(self._set, True, self._flowing)

    def speak(self, *, of_old: bool) -> None:
        """Forward again: of new connections, and of those that were silent only with `of_old`."""
        self._loop.call_soon_threadsafe(self._set, False, self._flowing if of_old else ())

    def _set(self, silent: bool, flows: Any) -> None:
        self._silent = silent
        for flow in flows:
            if silent:
                flow.clear()
            else:
                flow.set()

    def _run(self, part: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(part, self._loop).result(10.0)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "localhost", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        flowing = asyncio.Event()
        if not self._silent:
            flowing.set()
        self._flowing.add(flowing)
        try:
            await flowing.wait()
            with contextlib.suppress(OSError):
                out, back = await self._connect()
                ways = [asyncio.create_task(self._forward(flowing, *way)) for way in ((reader, back), (out, writer))]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
                    back.close()
        except asyncio.CancelledError:
            pass  # at the end of the proxy
        finally:
            writer.close()
            self._flowing.discard(flowing)
            self._connections.discard(connection)

    async def _forward(
        self, flowing: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = await reader.read(65536)
                await flowing.wait()
                if not data:
                    return
                writer.write(data)
                await writer.drain()
