"""The dashboard as a program of its own, served by uvicorn."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from .application import Dashboard

__all__ = ["run"]


class _Server(uvicorn.Server):
    """A server that ends the streams of live updates when it is told to stop, for they never end by themselves."""

    def __init__(self, config: uvicorn.Config, dashboard: Dashboard) -> None:
        super().__init__(config)
        self._dashboard = dashboard

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._dashboard.ticker.close()
        super().handle_exit(sig, frame)


def run(dashboard: Dashboard, *, host: str, port: int, started: Callable[[str], None]) -> None:
    """Serve a dashboard until SIGINT or SIGTERM. `started` gets its address. Raises OSError if that is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)  # who reads the address below may use it at once
        # Headers of a proxy are read by nobody: the guard of a local dashboard has to see them.
        config = uvicorn.Config(
            dashboard,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            proxy_headers=not dashboard.settings.local,
            lifespan="off",
            timeout_graceful_shutdown=5,
        )
        server = _Server(config, dashboard)
        name = f"[{host}]" if family == socket.AF_INET6 else host
        started(f"http://{name}:{listener.getsockname()[1]}{dashboard.settings.prefix}/")
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            # uvicorn stops at SIGTERM, and raises it again when it has stopped. That is a success here.
            signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn raises the signal again when it has stopped
            pass
        finally:
            dashboard.close()
