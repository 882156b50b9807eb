"""Commands that run jobs: the worker of an application, and the demo."""

from __future__ import annotations

import logging
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import watchfiles
from pythonjsonlogger.json import JsonFormatter

from ..service.run import run_worker
from ..service.supervisor import Child, supervise
from ..worker import WorkerOptions, WorkerSettings
from .application import Application, import_application
from .database import connect
from .errors import WrongUsage
from .options import duration_option

__all__ = ["commands"]

commands = typer.Typer()

# What a worker does when nothing is said.
_WORKER: Mapping[str, Any] = {field.name: field.default for field in fields(WorkerSettings)}


def _size(text: str) -> int:
    """An amount of memory in bytes: a number, or one with a unit, which are powers of 1024."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)B?", text.strip(), re.ASCII | re.IGNORECASE)
    if not match:
        raise typer.BadParameter(f"{text!r} is no size; write it as 512MB or 2GB")
    return int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ")


@commands.command()
def worker(
    application: Application,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", help="Serve this queue; may be repeated. By default all of the App.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="How many tasks run at once.")] = _WORKER["concurrency"],
    shutdown_timeout: Annotated[
        timedelta | None,
        duration_option(
            f"How long running tasks may take to end when the worker stops (default {_WORKER['shutdown_timeout']:g})."
        ),
    ] = None,
    prefetch_seconds: Annotated[
        float, typer.Option(min=0, max=1, help="Seconds of work to claim beyond what runs; 0 for none.")
    ] = _WORKER["prefetch_seconds"],
    drain: Annotated[bool, typer.Option("--drain", help="Stop when nothing is left to do.")] = False,
    max_tasks_per_process: Annotated[
        int, typer.Option(min=1, help="How many tasks a process runs before another takes its place.")
    ] = _WORKER["max_tasks_per_process"],
    max_memory_per_process: Annotated[
        int | None,
        typer.Option(
            parser=_size,
            metavar="SIZE",
            show_default=False,
            help="What a process may have in memory after a task, such as 512MB, else another takes its place.",
        ),
    ] = None,
    unknown_jobs: Annotated[
        Literal["skip", "fail"],
        typer.Option(
            help="Tasks of jobs that the App does not have: skip them, so that another worker runs them, or fail."
        ),
    ] = _WORKER["unknown_jobs"],
    name: Annotated[str | None, typer.Option(help="The worker's name; by default host and process id.")] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="How many such workers, each a process; one that dies is started again.")
    ] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart when a Python file below this directory changes.")
    ] = False,
    health_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            show_default=False,
            help="Answer /live and /ready on this port; of several processes, each takes the next port.",
        ),
    ] = None,
    log_level: Annotated[Literal["debug", "info", "warning", "error"], typer.Option(help="What is logged.")] = "info",
    log_format: Annotated[Literal["text", "json"], typer.Option(help="How it is logged.")] = "text",
    log_tasks: Annotated[
        bool, typer.Option("--log-tasks/--no-log-tasks", help="Log the start and the end of each task, at level info.")
    ] = _WORKER["log_tasks"],
    log_inputs: Annotated[
        bool, typer.Option("--log-inputs", help="Log the input of each task with its start, up to 1000 characters.")
    ] = _WORKER["log_inputs"],
    dsn: Annotated[
        str | None, typer.Option("--dsn", help="The database, instead of the App's.", show_default=False)
    ] = None,
    listen_dsn: Annotated[
        str | None,
        typer.Option(
            "--listen-dsn", help="The same database past the pooler, for notifications only.", show_default=False
        ),
    ] = None,
) -> None:
    """Run the jobs of an application until SIGTERM or SIGINT; a second signal gives running tasks back at once."""
    if reload and drain:
        raise WrongUsage("a worker that drains ends, and one that reloads does not: give --drain or --reload")
    if health_port and health_port + processes - 1 > 65535:
        raise WrongUsage(f"--health-port {health_port} leaves no port for the last of {processes} processes")
    _log(log_level, log_format)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until the worker does: nothing is claimed yet, and process 1 of a container hears only what it handles.
        signal.signal(number, lambda *_: sys.exit(0))
    child = Child.of_environment()
    if child is None and (processes > 1 or reload):
        if not reload:
            with import_application(application, dsn) as app:
                connect(app.dsn).close()
        changes = watchfiles.awatch(Path.cwd(), watch_filter=watchfiles.PythonFilter()) if reload else None
        raise typer.Exit(supervise(processes, changes))
    if child is not None and processes > 1:
        name = f"{name}-{child.number}" if name else None
        health_port = health_port + child.number - 1 if health_port else health_port
    settings = WorkerOptions(
        concurrency=concurrency,
        unknown_jobs=unknown_jobs,
        prefetch_seconds=prefetch_seconds,
        drain=drain,
        max_tasks_per_process=max_tasks_per_process,
        max_memory_per_process=max_memory_per_process,
        log_tasks=log_tasks,
        log_inputs=log_inputs,
        name=name,
        listen_dsn=listen_dsn,
    )
    if shutdown_timeout is not None:
        settings["shutdown_timeout"] = shutdown_timeout.total_seconds()
    if queue:
        settings["queues"] = queue
    with import_application(application, dsn) as app:
        connect(app.dsn).close()  # where that fails it says so at once, and names the host
        run_worker(app.worker(**settings), health_port=health_port, parent=child.pipe if child else None)


def _log(level: str, form: str) -> None:
    """Log to stderr, in lines of text or of JSON."""
    handler = logging.StreamHandler()
    fields = "%(asctime)s %(levelname)s %(message)s"
    handler.setFormatter(JsonFormatter(fields) if form == "json" else logging.Formatter(fields))
    logging.basicConfig(level=level.upper(), handlers=[handler])


@commands.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def demo(context: typer.Context) -> None:
    """See a queue at work: workers, a few jobs, a killed worker, and the outcome of each task."""
    from ..demo import main as run_demo

    raise typer.Exit(run_demo(context.args))
