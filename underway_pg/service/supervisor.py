"""Several worker processes below one: start them, restart the ones that die, pass a stop on, report their health.

`link.py` is how they talk with each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]  # multiprocessing uses it as well
from typing import Any

from ..client import Client
from ..metrics import (
    DatabaseCollector,
    MergedWorkers,
    application_collectors,
    forget_process,
    has_prometheus,
    render,
)
from .health import HealthAddress
from .link import KILL_MARGIN, VARIABLE, Process, Request
from .server import HealthServer, Metrics

__all__ = ["Supervisor", "child_command"]

logger = logging.getLogger(__name__)

# Seconds. The pause before a child that died is restarted; it doubles with each restart up to the maximum, and starts
# over after a child that ran for longer than the maximum pause twice over.
_FIRST_PAUSE = 0.5
_MAX_PAUSE = 30.0

# The exit code of a command that was used wrongly. Another start would not help.
_WRONG_USAGE = 2


class Supervisor:
    """Runs a command in several processes until SIGTERM or SIGINT, or until all of them have ended with code 0.

    A child that dies is restarted after a pause that grows. The first signal stops all children, and nothing is started
    after it; the second makes them release their running tasks at once. A child that runs on after `shutdown_timeout`
    and `kill_margin` (seconds) is killed with its process group. With `health`, one port answers for all children;
    `/metrics` has the sums of their metrics, and with `metrics_of`, a client, those of its database.
    """

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        *,
        shutdown_timeout: float = 30.0,
        kill_margin: float = KILL_MARGIN,
        health: HealthAddress | None = None,
        metrics_of: Client | None = None,
    ) -> None:
        self._command = list(command)
        self._processes = processes
        self._shutdown_timeout = shutdown_timeout
        self._kill_margin = kill_margin
        self._health = health
        self._metrics_of = metrics_of
        self._running: dict[int, Process] = {}
        self._stops = 0
        self._stopping = asyncio.Event()
        self._code = 0
        self._merged = MergedWorkers()

    async def run(self) -> int:
        """Run until the end. Returns the exit code: 0, or that of a child that was used wrongly or died at the stop."""
        loop = asyncio.get_running_loop()
        for which in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(which, self._stop)
        with contextlib.ExitStack() as stack:
            if self._health is not None:
                stack.enter_context(HealthServer(self._health, self._ask_all, self._metrics()))
            async with asyncio.TaskGroup() as group:
                for number in range(1, self._processes + 1):
                    group.create_task(self._keep(number))
        return self._code

    def _stop(self) -> None:
        self._stops += 1
        self._stopping.set()
        for process in self._running.values():
            process.request(Request.STOP)
        patience = self._shutdown_timeout if self._stops == 1 else 0.0
        asyncio.get_running_loop().call_later(patience + self._kill_margin, self._kill_all)

    def _kill_all(self) -> None:
        for number, process in self._running.items():
            logger.error("worker process %s did not stop in time and is killed", number)
            process.kill()

    async def _keep(self, number: int) -> None:
        """Run one child, and another each time that it dies."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            started_at = time.monotonic()
            code = await self._run_child(number)
            if self._stopping.is_set() and -code in (signal.SIGTERM, signal.SIGINT):
                return  # a signal to the whole group, before the child handled signals or after it had stopped
            if code == _WRONG_USAGE or (code != 0 and self._stopping.is_set()):
                self._code = max(self._code, 1 if code < 0 else code)
            if code == _WRONG_USAGE and not self._stopping.is_set():
                self._stop()
            if code == 0 or self._stopping.is_set():
                return
            if time.monotonic() - started_at > 2 * _MAX_PAUSE:
                pause = _FIRST_PAUSE
            logger.error("worker process %s %s; restarting in %.1f s", number, _describe(code), pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, _MAX_PAUSE)

    async def _run_child(self, number: int) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                env={**os.environ, VARIABLE: f"{number}:{theirs.fileno()}"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor
            )
        async with Process(child, ours) as process:
            self._running[number] = process
            for _ in range(self._stops):  # while it was started
                process.request(Request.STOP)
            try:
                return await child.wait()
            finally:
                del self._running[number]
                self._merged.ended(number)
                forget_process(child.pid)

    async def _ask_all(self) -> list[dict[str, Any]]:
        """The health of each child. A child that died and will be restarted is alive, and not ready."""
        processes = [self._running.get(number) for number in range(1, self._processes + 1)]
        return list(await asyncio.gather(*(_ask_health(process) for process in processes)))

    def _metrics(self) -> Metrics | None:
        """What answers `/metrics`, in a thread; None without prometheus-client."""
        if not has_prometheus():
            return None
        loop, collectors = asyncio.get_running_loop(), application_collectors(one_process=False)
        if self._metrics_of is not None:
            collectors.append(DatabaseCollector(self._metrics_of.run))

        def metrics(accept: str | None) -> tuple[str, bytes]:
            merged = asyncio.run_coroutine_threadsafe(self._merge_metrics(), loop).result()
            return render([_Collected(merged), *collectors], accept)

        return metrics

    async def _merge_metrics(self) -> list[Any]:
        """Ask all children for their metrics, and merge them."""
        running = list(self._running.items())
        answers = await asyncio.gather(*(process.ask(Request.METRICS) for _, process in running))
        self._merged.update(
            {
                number: answer
                for (number, process), answer in zip(running, answers, strict=True)
                if answer is not None and self._running.get(number) is process
            }
        )
        return list(self._merged.collect())


async def _ask_health(process: Process | None) -> dict[str, Any]:
    """The health of a child. One that has not answered yet is starting: alive, and not ready."""
    if process is None:
        return {"alive": True, "ready": False}
    return await process.ask(Request.HEALTH) or {"alive": not process.has_answered, "ready": False}


class _Collected:
    """Families that were collected on the loop."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        return self._families


def _describe(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def child_command(arguments: Sequence[str]) -> list[str]:
    """The command line `underway` with these arguments, with the options of this interpreter (-X, -W, -O and so on)."""
    return [sys.executable, *_args_from_interpreter_flags(), "-m", "underway_pg", *arguments]
