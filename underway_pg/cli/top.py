"""The command `top`: the queues, workers and tasks, live."""

from __future__ import annotations

import contextlib
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import psycopg
import typer

from .. import connections
from ..errors import DatabaseUnavailable
from .database import require_dsn
from .errors import WrongUsage
from .options import Dsn, duration_option
from .output import echo_json
from .snapshot import Snapshot

__all__ = ["commands"]

commands = typer.Typer()

# Seconds.
_MIN_INTERVAL = 0.2
_MAX_WAIT = 0.1  # until Ctrl-C is noticed


@commands.command()
def top(
    interval: Annotated[timedelta | None, duration_option("The time between two looks. Default: 2s.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
    dsn: Dsn = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and end.")] = False,
) -> None:
    """Show queues, workers, running tasks and the latest failures, live; q or Ctrl-C ends it.

    Rates are of the last whole minute and the current one. Where the output is no terminal it prints once.
    """
    seconds = 2.0 if interval is None else interval.total_seconds()
    if seconds < _MIN_INTERVAL:
        raise WrongUsage(f"--interval is {seconds:g} s; give at least {_MIN_INTERVAL} s")
    connect = _Connection(require_dsn(dsn))
    with contextlib.closing(connect):
        if as_json:
            echo_json(asdict(connect.look()))
        elif once or not sys.stdout.isatty():
            _print(connect.look())
        else:
            _live(connect, seconds)


class _Connection:
    """A connection that is made again when it has broken."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection[Any] | None = None

    def look(self) -> Snapshot:
        """The state now. Raises DatabaseUnavailable; the next call connects again."""
        if self._connection is None:
            self._connection = connections.connect(self._dsn, application_name="underway top")
        try:
            with connections.answer_within_sync(connections.SILENT_AFTER, self._connection):
                return Snapshot.read(self._connection)
        except psycopg.Error as error:
            if not (self._connection.closed or connections.is_outage(error)):
                raise
            self.close()
            raise connections.unavailable(error) from error

    def close(self) -> None:
        """Close it, until the next look."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _print(snapshot: Snapshot) -> None:
    from rich.console import Console  # imported late, because it takes long

    from .screen import screen

    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(screen(snapshot, width=console.width, height=None))


def _live(connection: _Connection, seconds: float) -> None:
    """Show it until somebody presses q. When the database goes away, say so, and go on when it is back."""
    from rich.console import Console
    from rich.live import Live

    from .screen import screen

    console = Console()
    snapshot = connection.look()  # the first error ends it: the dsn may be wrong
    problem: str | None = None
    with (
        _interrupts() as interrupted,
        _keys() as pressed,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while not interrupted.is_set():
            width, height = console.size
            live.update(screen(snapshot, width=width, height=height, problem=problem), refresh=True)
            look_at = time.monotonic() + seconds
            while not interrupted.is_set() and (left := look_at - time.monotonic()) > 0:
                if pressed(min(left, _MAX_WAIT)) in ("q", "Q", "\x1b", "\x03"):
                    return
            try:
                snapshot, problem = connection.look(), None
            except (DatabaseUnavailable, psycopg.OperationalError) as error:
                problem = " ".join(str(error).split())


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Set an event at Ctrl-C. A KeyboardInterrupt is lost where Python ignores exceptions, such as in a finalizer."""
    interrupted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """Read single keys; yields a function that waits for one, for so many seconds at most."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        yield time.sleep
        return
    if not sys.stdin.isatty():
        yield time.sleep
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return sys.stdin.read(1) if ready else ""

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
