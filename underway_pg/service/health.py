"""Health over HTTP, for those who start and stop workers: `/live`, `/ready`, and the same in JSON.

A thread answers, and asks the loop of the worker: a loop that does not answer in a second is not alive.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..errors import ConfigurationError
from ..models import Health

__all__ = ["HealthServer"]

_ANSWERS_WITHIN = 1.0


class HealthServer:
    """Answers on a port while the block runs: 200 for `/live` while the loop answers, for `/ready` while it claims.

    Else 503. Raises ConfigurationError when the port cannot be had.
    """

    def __init__(self, port: int, health: Callable[[], Health], *, host: str = "") -> None:
        self._health = health
        self._loop = asyncio.get_running_loop()
        try:
            self._server = ThreadingHTTPServer((host, port), self._handler())
        except OSError as error:
            raise ConfigurationError(f"health cannot be answered on port {port}: {error.strerror}") from error
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port; of use when 0 was asked for, which takes any that is free."""
        return int(self._server.server_address[1])

    def __enter__(self) -> HealthServer:
        threading.Thread(target=self._server.serve_forever, args=[0.05], name="underway-health", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _ask(self) -> Health | None:
        """How the worker says it is; None when its loop does not answer."""
        answer: Future[Health] = Future()
        try:
            self._loop.call_soon_threadsafe(lambda: answer.set_result(self._health()))
            return answer.result(_ANSWERS_WITHIN)
        except (TimeoutError, RuntimeError):  # it hangs, or is closed
            return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ask = self._ask

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path not in ("/", "/live", "/ready"):
                    self._answer(404, {"error": f"{self.path} is not here; ask for /live or /ready"})
                    return
                health = ask()
                body = {"alive": health is not None, **(asdict(health) if health else {"ready": False})}
                good = body["ready"] if self.path == "/ready" else body["alive"]
                self._answer(200 if good else 503, body)

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                text = json.dumps(body, default=str).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Probes come every few seconds; nobody wants to read of them."""

        return Handler
