"""Health over HTTP for orchestrators: `/live` and `/ready`, both with the same JSON about each worker; and `/metrics`.

A thread answers the requests. For health it asks the event loop: one that does not answer within a second is not alive.
Metrics do not need the loop, so that those of a worker whose loop is blocked are seen.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..errors import ConfigurationError
from ..metrics import MISSING
from .health import HealthAddress

__all__ = ["HealthServer", "Metrics"]

logger = logging.getLogger(__name__)

Metrics = Callable[[str | None], tuple[str, bytes]]
"""Takes the header Accept of a request. Returns the content type and the body of the answer. Runs in any thread."""

# Seconds; below the second that a Kubernetes probe waits by default.
_ANSWER_TIMEOUT = 0.9

# What a system says whose IPv6 is switched off.
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class HealthServer:
    """Serves health while the block runs: 200 for `/live` while all workers are alive, for `/ready` while all claim.

    Otherwise 503. `ask` gives the health of each worker and runs on the loop that made the server. `metrics` answers
    `/metrics`; without it prometheus-client is not installed. Raises ConfigurationError when the server cannot be bound
    to its address.
    """

    def __init__(
        self,
        address: HealthAddress,
        ask: Callable[[], Awaitable[Sequence[dict[str, Any]]]],
        metrics: Metrics | None = None,
    ) -> None:
        self._ask = ask
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._server = _bind(address, self._handler())

    @property
    def port(self) -> int:
        """The port: the one that was found if port 0 was given."""
        return int(self._server.server_address[1])

    def __enter__(self) -> HealthServer:
        threading.Thread(target=self._server.serve_forever, args=[0.05], name="underway-health", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _report(self) -> dict[str, Any]:
        async def ask() -> Sequence[dict[str, Any]]:
            return await self._ask()

        asking = ask()
        try:
            workers = asyncio.run_coroutine_threadsafe(asking, self._loop).result(_ANSWER_TIMEOUT)
        except TimeoutError:  # the loop hangs
            return {"alive": False, "ready": False, "workers": []}
        except RuntimeError:  # the loop is closed
            asking.close()
            return {"alive": False, "ready": False, "workers": []}
        return {
            "alive": all(worker["alive"] for worker in workers),
            "ready": all(worker["ready"] for worker in workers),
            "workers": workers,
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        report, metrics = self._report, self._metrics

        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0  # seconds for a client that connects and sends nothing

            def do_GET(self) -> None:
                self.wfile.write(self._respond())

            def do_HEAD(self) -> None:
                self._respond()

            def _respond(self) -> bytes:
                """Send status and headers. Returns the body."""
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    return self._send_metrics()
                if path in ("/", "/live", "/ready"):
                    found = report()
                    status = 200 if found["ready" if path == "/ready" else "alive"] else 503
                else:
                    found, status = {"error": f"{path} does not exist; request /live, /ready or /metrics"}, 404
                return self._send(status, found)

            def _send_metrics(self) -> bytes:
                if metrics is None:
                    return self._send(HTTPStatus.NOT_IMPLEMENTED, {"error": MISSING})
                try:
                    content_type, body = metrics(self.headers.get("Accept"))
                except Exception as error:  # of a collector of the application, for example
                    logger.exception("cannot collect the metrics")
                    return self._send(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"cannot collect: {error}"})
                return self._send_bytes(HTTPStatus.OK, content_type, body)

            def _send(self, status: int, found: dict[str, Any], **headers: str) -> bytes:
                return self._send_bytes(status, "application/json", json.dumps(found, default=str).encode(), **headers)

            def _send_bytes(self, status: int, content_type: str, body: bytes, **headers: str) -> bytes:
                self.send_response(status)
                for name, value in {
                    "Content-Type": content_type, "Content-Length": str(len(body)), **headers
                }.items():  # fmt: skip
                    self.send_header(name, value)
                self.end_headers()
                return body

            def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
                """What http.server refuses by itself: a method that is not above, or what is no request."""
                if code == HTTPStatus.NOT_IMPLEMENTED:
                    error = f"{self.command} is not allowed; use GET or HEAD"
                    body = self._send(HTTPStatus.METHOD_NOT_ALLOWED, {"error": error}, Allow="GET, HEAD")
                else:
                    body = self._send(code, {"error": message or HTTPStatus(code).phrase})
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Probes arrive every few seconds and are not logged."""

        return Handler


def _bind(address: HealthAddress, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """A server on a host, or on both the IPv4 and the IPv6 addresses of this machine where it has both."""
    try:
        if address.host is not None:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            return _server(found[0][0], found[0][4][:2], handler)
        if socket.has_dualstack_ipv6():
            try:
                return _server(socket.AF_INET6, ("::", address.port), handler)
            except OSError as error:
                if error.errno not in _NO_IPV6:
                    raise
        return _server(socket.AF_INET, ("0.0.0.0", address.port), handler)
    except OSError as error:
        place = f"port {address.port}" + (f" of host {address.host}" if address.host is not None else "")
        raise ConfigurationError(f"cannot bind the health server to {place}: {error.strerror}") from error


def _server(family: socket.AddressFamily, address: Any, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    class Server(ThreadingHTTPServer):
        address_family = family
        daemon_threads = True

        def server_bind(self) -> None:
            if family == socket.AF_INET6 and address[0] == "::":
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

    return Server(address, handler)
