"""Run one worker in this process, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from ..client import Client
from ..errors import ConfigurationError
from ..metrics import DatabaseCollector, WorkerMetrics, application_collectors, has_prometheus, render
from ..worker import Worker
from ..worker.executors.thread import DaemonExecutor
from .health import HealthAddress, worker_health
from .link import Child, Request

if TYPE_CHECKING:
    from .server import Metrics

__all__ = ["LoopName", "loop_factory", "require_posix", "run_worker"]

LoopName = Literal["auto", "asyncio", "uvloop"]


def run_worker(
    worker: Worker,
    *,
    health: HealthAddress | None = None,
    metrics_of: Client | None = None,
    loop: LoopName = "auto",
    child: Child | None = None,
) -> None:
    """Run a worker until SIGTERM or SIGINT; a second signal makes it release its running tasks at once.

    With `health`, `/live`, `/ready` and `/metrics` are served there: the metrics of the worker and of the application,
    and with `metrics_of`, a client, those of its database. In a process of a supervisor, where `child` is set, the
    supervisor serves them. `child` is the link to the supervisor of this process, which
    asks for the second stop by itself: there, any number of signals count as one. Raises ConfigurationError outside of
    the main thread and under a running event loop, where signals cannot be handled.
    """
    require_posix()
    _require_main_thread()
    _enable_loggers()
    runner = asyncio.Runner(loop_factory=loop_factory(loop))
    try:
        runner.run(_run(worker, health, metrics_of, child))
    finally:
        # Closing waits for the tasks that still run on the loop: forever, if handlers were abandoned.
        if not asyncio.all_tasks(runner.get_loop()):
            runner.close()


async def _run(worker: Worker, health: HealthAddress | None, metrics_of: Client | None, child: Child | None) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(DaemonExecutor())
    stops = 0

    def on_signal() -> None:
        nonlocal stops
        wanted = stops + 1 if child is None else max(1, child.stops)
        for _ in range(stops, wanted):
            worker.stop()
        stops = max(stops, wanted)

    async def ask() -> list[dict[str, Any]]:
        return [worker_health(worker)]

    counted = WorkerMetrics(worker) if health is not None and has_prometheus() else None
    signals = (signal.SIGTERM, signal.SIGINT)
    with contextlib.ExitStack() as stack:
        for number in signals:
            loop.add_signal_handler(number, on_signal)
            stack.callback(loop.remove_signal_handler, number)
        if child is not None:
            _answer_supervisor(child, worker, counted, loop)
        elif health is not None:
            from .server import HealthServer  # imports the web server, which few workers need

            metrics = None if counted is None else _metrics(counted, metrics_of)
            stack.enter_context(HealthServer(health, ask, metrics))
        # Many short tasks make full collections of garbage frequent, and each would visit all that the program has
        # loaded.
        gc.freeze()
        stack.callback(gc.unfreeze)
        await worker.run()


def _metrics(counted: WorkerMetrics, metrics_of: Client | None) -> Metrics:
    collectors = application_collectors(one_process=True)
    if metrics_of is not None:
        collectors.append(DatabaseCollector(metrics_of.run))
    return lambda accept: render([counted, *collectors], accept)


def _answer_supervisor(
    child: Child, worker: Worker, counted: WorkerMetrics | None, loop: asyncio.AbstractEventLoop
) -> None:
    def on_health() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: child.send(Request.HEALTH, worker_health(worker)))

    def on_metrics() -> None:
        if counted is not None:
            child.send(Request.METRICS, counted.as_json())

    child.answer({Request.HEALTH: on_health, Request.METRICS: on_metrics})


def loop_factory(name: LoopName) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop; None for asyncio's own. `auto` is uvloop where that is installed.

    Raises ConfigurationError if uvloop is asked for and not installed.
    """
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ModuleNotFoundError:
        if name == "auto":
            return None
        raise ConfigurationError("uvloop is not installed: pip install 'underway-pg[uvloop]'") from None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def require_posix() -> None:
    """Raise ConfigurationError on Windows, which has neither the signals nor the processes that a worker needs."""
    if sys.platform == "win32":
        raise ConfigurationError(
            "workers do not run on Windows: run them in WSL or in a container; enqueueing and the other commands work"
        )


def _require_main_thread() -> None:
    instead = "run the worker on an event loop of your own instead: asyncio.run(app.worker().run())"
    if threading.current_thread() is not threading.main_thread():
        raise ConfigurationError(f"signals can be handled in the main thread only; {instead}")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigurationError("an event loop is running already; run the worker on it: await app.worker().run()")


def _enable_loggers() -> None:
    """Enable the package's loggers, which `logging.config` disables by default if they exist when it is called.

    Only loggers of other packages are meant by that default: the failures of tasks would be lost without a word.
    """
    for name, found in logging.root.manager.loggerDict.items():
        if isinstance(found, logging.Logger) and f"{name}.".startswith("underway_pg."):
            found.disabled = False
