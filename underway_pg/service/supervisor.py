"""Several worker processes under one: children that die are started again, and signals are passed on to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

__all__ = ["Child", "Supervisor"]

logger = logging.getLogger("underway_pg")

# Seconds. A child that died is started again after so long, twice as long each time, at most so long; one that has
# lived for so long starts again with that.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LONG_LIFE = 60.0

# A command that was wrongly used is not mended by another start.
_WRONG_USAGE = 2

_VARIABLE = "UNDERWAY_CHILD"


@dataclass(frozen=True)
class Child:
    """What a child knows of itself: its `number` from 1, and a pipe that is closed when its parent is gone."""

    number: int
    pipe: int

    @classmethod
    def of_environment(cls) -> Child | None:
        """What this process is as a child; None if it is none. Its own children are none either."""
        text = os.environ.pop(_VARIABLE, None)
        if text is None:
            return None
        number, pipe = text.split(":")
        return cls(int(number), int(pipe))


class Supervisor:
    """Runs a command in several processes until SIGTERM or SIGINT, or until all of them have ended well.

    A child that dies is started again, after a pause that grows. The first signal is passed on as SIGTERM, and so is
    the second; nothing is started after the first. Children notice when this process is gone (`Child.pipe`). With
    `changes`, an iterator that yields when code has changed, all are stopped and restarted each time.
    """

    def __init__(self, command: Sequence[str], processes: int, changes: AsyncIterator[object] | None = None) -> None:
        self._command = list(command)
        self._processes = processes
        self._changes = changes
        self._running: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()  # ends the pause before a start
        self._code = 0

    async def run(self) -> int:
        """Run until the end. Returns the exit code: 0 unless a child was wrongly used, or died while all stop."""
        loop = asyncio.get_running_loop()
        for which in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(which, self._stop)
        self._pipe, held_open = os.pipe()
        try:
            watching = asyncio.create_task(self._watch_changes())
            async with asyncio.TaskGroup() as group:
                for number in range(1, self._processes + 1):
                    group.create_task(self._keep(number))
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        finally:
            os.close(self._pipe)
            os.close(held_open)
        return self._code

    def _stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self._terminate_all()

    def _terminate_all(self) -> None:
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    async def _watch_changes(self) -> None:
        if self._changes is None:
            return
        async for _ in self._changes:
            logger.info("code has changed: %s", "the worker restarts" if self._processes == 1 else "all restart")
            self._terminate_all()
            self._woken.set()
            self._woken = asyncio.Event()

    async def _keep(self, number: int) -> None:
        """One child after the other."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            started_at = time.monotonic()
            woken = self._woken  # before it starts: a change during its life is one that it may not have seen
            code = await self._run_child(number)
            if self._stopping.is_set() and code == -signal.SIGTERM:
                return  # it had ended already, or not begun, when it was told once more
            if self._stopping.is_set() or (code == _WRONG_USAGE and self._changes is None):
                self._code = max(self._code, 1 if code < 0 else code)
                self._stop_after(code)
                return
            if code == 0 and self._changes is None:
                return
            if time.monotonic() - started_at > _LONG_LIFE:
                pause = _FIRST_PAUSE
            if code != 0:
                logger.error("worker process %s %s; another starts in %.1f s", number, _words(code), pause)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), pause)
                    pause = _FIRST_PAUSE
                    continue
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _stop_after(self, code: int) -> None:
        if code == _WRONG_USAGE:
            self._stop()

    async def _run_child(self, number: int) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._command, env={**os.environ, _VARIABLE: f"{number}:{self._pipe}"}, pass_fds=[self._pipe],
            start_new_session=True,  # a Ctrl-C of the terminal is for the parent, which passes it on
        )  # fmt: skip
        self._running.add(process)
        if self._stopping.is_set():  # meanwhile
            process.terminate()
        try:
            return await process.wait()
        finally:
            self._running.discard(process)


def _words(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def supervise(processes: int, changes: AsyncIterator[object] | None = None) -> int:
    """Run the command of this process in several children. Returns the exit code."""
    command = [sys.executable, "-m", "underway_pg", *sys.argv[1:]]

    async def main() -> int:
        return await Supervisor(command, processes, changes).run()

    return asyncio.run(main())
