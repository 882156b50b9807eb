"""Run one worker in this process, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

from ..worker import Worker
from ..worker.executors.thread import DaemonExecutor
from .health import HealthServer

__all__ = ["run_worker"]

logger = logging.getLogger("underway_pg")


def run_worker(worker: Worker, *, health_port: int | None = None, parent: int | None = None) -> None:
    """Run a worker until SIGTERM or SIGINT; a second signal gives its running tasks back at once.

    With `health_port`, `/live` and `/ready` are answered there. `parent` is a pipe whose end says that the parent of
    this process is gone: the worker stops then.
    """
    signals = (signal.SIGTERM, signal.SIGINT)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(DaemonExecutor())
        for number in signals:
            loop.add_signal_handler(number, worker.stop)

        def parent_is_gone() -> None:
            assert parent is not None
            loop.remove_reader(parent)
            logger.warning("worker %s: its parent is gone", worker.name)
            worker.stop()

        if parent is not None:
            loop.add_reader(parent, parent_is_gone)
        try:
            with contextlib.ExitStack() as stack:
                if health_port is not None:
                    stack.enter_context(HealthServer(health_port, worker.health))
                await worker.run()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    runner = asyncio.Runner()
    try:
        runner.run(main())
    finally:
        # Closing waits for what still runs on the loop: for ever, where handlers were given up.
        if not asyncio.all_tasks(runner.get_loop()):
            runner.close()
