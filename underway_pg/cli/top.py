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
from ..shards import Answers, Shards
from .databases import Databases, on_databases
from .errors import WrongUsage
from .options import duration_option
from .output import echo_json
from .snapshot import Snapshot

__all__ = ["commands"]

commands = typer.Typer()

# Seconds.
_MIN_INTERVAL = 0.2
_MAX_WAIT = 0.1  # until Ctrl-C is noticed


@commands.command()
@on_databases
def top(
    databases: Databases,
    interval: Annotated[timedelta | None, duration_option("The time between two looks. Default: 2s.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and end.")] = False,
) -> None:
    """Show queues, workers, running tasks and the latest failures, live; q or Ctrl-C ends it.

    Rates are of the last whole minute and the current one. Where the output is no terminal it prints once.
    """
    seconds = 2.0 if interval is None else interval.total_seconds()
    if seconds < _MIN_INTERVAL:
        raise WrongUsage(f"--interval is {seconds:g} s; give at least {_MIN_INTERVAL} s")
    with databases.shards(connections.SILENT_AFTER, "underway top") as shards:
        if not as_json and not once and sys.stdout.isatty():
            _live(shards, seconds)
            return
        answers = shards.run_all(Snapshot.read)
    if not answers.results and not databases.several:
        raise next(iter(answers.unreachable.values()))
    databases.report(answers.unreachable)
    if not as_json:
        _print(Snapshot.of(answers.results))
    elif databases.several:
        snapshots = {shard: asdict(snapshot) for shard, snapshot in answers.results.items()}
        echo_json(databases.with_unreachable({"shards": snapshots}))
    else:
        echo_json(asdict(Snapshot.of(answers.results)))


def _print(snapshot: Snapshot) -> None:
    from rich.console import Console  # imported late, because it takes long

    from .screen import screen

    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(screen(snapshot, width=console.width, height=None))


def _live(shards: Shards, seconds: float) -> None:
    """Show it until somebody presses q. When a database goes away, say so, and go on when it is back."""
    from rich.console import Console
    from rich.live import Live

    from .screen import screen

    console = Console()
    answers = shards.run_all(Snapshot.read)
    if not answers.results:  # the dsn may be wrong
        raise next(iter(answers.unreachable.values()))
    snapshot, problem = Snapshot.of(answers.results), _problem(answers)
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
                answers = shards.run_all(Snapshot.read)
            except psycopg.OperationalError as error:
                problem = " ".join(str(error).split())
                continue
            problem = _problem(answers)
            if answers.results:
                snapshot = Snapshot.of(answers.results)


def _problem(answers: Answers[Snapshot]) -> str | None:
    """Which databases do not answer, and why."""
    words = {name: " ".join(str(error).split()) for name, error in answers.unreachable.items()}
    if len(answers.results) + len(words) == 1:
        return next(iter(words.values()), None)
    return "; ".join(f"{name}: {why}" for name, why in words.items()) or None


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
