"""A proxy before the database that can fall silent: it forwards nothing any more, and closes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict


class Proxy:
    """Listens on a port of localhost and forwards to the server of a dsn, in a thread of its own."""

    def __init__(self, dsn: str) -> None:
        self._target = conninfo_to_dict(dsn)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._flowing: set[asyncio.Event] = set()
        self._silent = False
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        # No asyncio.Server, which loses a connection that it has accepted just before its close.
        self._listener = socket.create_server(("localhost", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._loop.add_reader(self._listener, self._accept)
        self._thread.start()
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

    async def _close(self) -> None:
        self._loop.remove_reader(self._listener)
        self._listener.close()
        await asyncio.sleep(0)  # the task of each connection has begun, and closes it when it is cancelled
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = self._listener.accept()
            connection = self._loop.create_task(self._serve(client))
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)

    async def _serve(self, client: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=client)
        flowing = asyncio.Event()
        if not self._silent:
            flowing.set()
        self._flowing.add(flowing)
        try:
            with contextlib.closing(writer), contextlib.suppress(OSError):
                await flowing.wait()
                out, back = await self._connect()
                with contextlib.closing(back):
                    await self._forward_both(flowing, (reader, back), (out, writer))
        finally:
            self._flowing.discard(flowing)

    async def _forward_both(
        self, flowing: asyncio.Event, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        """Forward until one side has closed its connection."""
        tasks = [asyncio.create_task(self._forward(flowing, *way)) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

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
