"""Runs `underway move` in a process that is killed by SIGKILL; `test_move_killed.py` has what is promised of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerProcess
from typing import Any

import psycopg

from underway_pg.cli import command, main, move, moving

command("move")  # made once, for all that are forked from here

# Forks from a server that has imported all of this once.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def start_move(arguments: list[str], *, batch: int, kill_at: int | None = None) -> ForkServerProcess:
    """Start `underway move` with batches of this size; before it sends statement number `kill_at` it is killed."""
    process = _CONTEXT.Process(target=_run, args=(arguments, batch, kill_at))
    process.start()
    return process


def run_move(arguments: list[str], *, batch: int, kill_at: int | None = None) -> int:
    """The exit code; minus the number of the signal that killed it."""
    process = start_move(arguments, batch=batch, kill_at=kill_at)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _run(arguments: list[str], batch: int, kill_at: int | None) -> None:
    moving.BATCH = batch
    if kill_at is not None:
        _kill_before(kill_at)
    sys.exit(main(["move", *arguments]))


def _kill_before(number: int) -> None:
    """Count from when both databases are connected. Every statement and every commit goes through Connection.wait."""
    route, wait = move.open_route, psycopg.Connection.wait
    trips = 0

    def count(self: psycopg.Connection[Any], *arguments: Any, **options: Any) -> Any:
        nonlocal trips
        trips += 1
        if trips == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return wait(self, *arguments, **options)

    def begin(*arguments: Any) -> Any:
        psycopg.Connection.wait = count  # type: ignore[method-assign]
        return route(*arguments)

    move.open_route = begin
