"""The command `worker`: run the jobs of an application, in one process or in several."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Literal

import typer

from ..client import Client
from ..metrics import require_prometheus
from ..service.health import HealthAddress
from ..service.link import Child
from ..service.run import LoopName, loop_factory, require_posix, run_worker
from ..worker import WorkerSettings
from .application import Application, import_application
from .database import connect
from .errors import WrongUsage
from .logs import Format, Level, configure_logging
from .options import seconds_option, size
from .output import print_error
from .reload import reloaded_timeout, run_reloading

__all__ = ["commands", "parse_queues"]

commands = typer.Typer()

_DEFAULTS = WorkerSettings()

# The ends of the variables that Kubernetes sets for a Service named underway-worker.
_OF_A_SERVICE = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)\w*)?$")


def parse_queues(names: Sequence[str], concurrency: int) -> list[str] | dict[str, int]:
    """Queues as `--queue` names them: NAME, or NAME:CONCURRENCY for at most so many tasks of that queue at once."""
    queues = {}
    limited = False
    for text in names:
        match = re.fullmatch(r"(.+):(\d+)", text)
        if match and not int(match[2]):
            raise WrongUsage(f"--queue {text}: the concurrency must be at least 1")
        queues[match[1] if match else text] = int(match[2]) if match else concurrency
        limited = limited or match is not None
    return queues if limited else list(queues)


_SETTINGS = {field.name for field in fields(WorkerSettings)}


# The options that are settings of a worker have the names of the fields of WorkerSettings and are passed on by name.
@commands.command()
def worker(
    context: typer.Context,
    application: Application,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:N]",
            help="Serve this queue, with at most N of its tasks at once; may be repeated. Default: all queues of the"
            " App.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="How many tasks run at once.")] = _DEFAULTS.concurrency,
    shutdown_timeout: Annotated[
        float,
        seconds_option("How long running tasks may continue after the worker was asked to stop."),
    ] = _DEFAULTS.shutdown_timeout,
    prefetch_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="How many seconds of work to prefetch, estimated from the average task duration. A prefetched task"
            " loses an attempt if the worker is killed. 0 disables prefetching.",
        ),
    ] = _DEFAULTS.prefetch_seconds,
    drain: Annotated[bool, typer.Option("--drain", help="Stop when no task is ready and none is running.")] = False,
    sync: Annotated[
        bool,
        typer.Option(
            "--sync/--no-sync",
            help="Write the queues, jobs and schedules of the App into the database at the start. Without it, only warn"
            " of differences.",
        ),
    ] = _DEFAULTS.sync,
    vacuum: Annotated[
        bool,
        typer.Option(
            "--vacuum/--no-vacuum", help="Vacuum the tables of the queue whenever many of their rows are dead."
        ),
    ] = _DEFAULTS.vacuum,
    max_tasks_per_process: Annotated[
        int, typer.Option(min=1, help="How many tasks a handler process runs before it is replaced.")
    ] = _DEFAULTS.max_tasks_per_process,
    max_memory_per_process: Annotated[
        int | None,
        typer.Option(
            parser=size,
            metavar="SIZE",
            show_default=False,
            help="Replace a handler process that uses more memory than this after a task: 512MB, 2GB.",
        ),
    ] = None,
    unknown_jobs: Annotated[
        Literal["skip", "fail"],
        typer.Option(
            help="What to do with a task whose job the App does not have: skip leaves it to another worker, without"
            " using up an attempt."
        ),
    ] = _DEFAULTS.unknown_jobs,
    name: Annotated[
        str | None, typer.Option(help="The name of the worker. Default: host and process id.", show_default=False)
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="How many workers to run, each in its own process; one that dies is restarted.")
    ] = 1,
    reload: Annotated[
        bool,
        typer.Option(
            "--reload/--no-reload",
            help="For development: restart when a Python file below the current directory changes.",
        ),
    ] = False,
    loop: Annotated[LoopName, typer.Option(help="The event loop. auto is uvloop where it is installed.")] = "auto",
    health_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            show_default=False,
            help="Serve /live, /ready and, for Prometheus, /metrics on this port, for all processes of this command.",
        ),
    ] = None,
    health_host: Annotated[
        str | None,
        typer.Option(
            show_default=False, help="The address to serve them on. Default: all IPv4 and IPv6 addresses of the host."
        ),
    ] = None,
    metrics_database: Annotated[
        bool,
        typer.Option(
            "--metrics-database",
            help="Add the metrics of the database to /metrics: of all queues, jobs, workers and schedules. One worker"
            " is enough. Its role needs underway_observer.",
        ),
    ] = False,
    log_level: Annotated[
        Level | None, typer.Option(help="The lowest level to log. Default: info.", show_default=False)
    ] = None,
    log_format: Annotated[
        Format | None, typer.Option(help="The format of the log. Default: text.", show_default=False)
    ] = None,
    log_config: Annotated[
        bool,
        typer.Option(
            "--log-config/--no-log-config",
            help="Configure logging, unless the application has done so when it was imported.",
        ),
    ] = True,
    log_tasks: Annotated[
        bool, typer.Option("--log-tasks/--no-log-tasks", help="Log the start and the end of each task, at level info.")
    ] = _DEFAULTS.log_tasks,
    log_inputs: Annotated[
        bool, typer.Option("--log-inputs", help="Log the input of each task at its start, up to 1000 characters.")
    ] = _DEFAULTS.log_inputs,
    dsn: Annotated[
        str | None,
        typer.Option("--dsn", help="The database, instead of that of the App.", show_default=False),
    ] = None,
    listen_dsn: Annotated[
        str | None,
        typer.Option(
            "--listen-dsn",
            help="Direct DSN used only for LISTEN/NOTIFY. Set it when the dsn goes through a pooler, which does not"
            " deliver notifications.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the jobs of an application until SIGTERM or SIGINT. A second signal releases running tasks at once."""
    require_posix()
    if reload and (drain or processes > 1):
        raise WrongUsage(f"--reload does not go together with {'--drain' if drain else '--processes'}")
    if health_host is not None and health_port is None:
        raise WrongUsage("--health-host needs --health-port")
    if metrics_database:
        if health_port is None:
            raise WrongUsage("--metrics-database needs --health-port")
        require_prometheus()
    if not log_config and (log_level or log_format):
        option = "--log-level" if log_level else "--log-format"
        raise WrongUsage(f"{option} does not go together with --no-log-config: the application configures logging")
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until the worker handles them: no task is claimed yet, and process 1 of a container ignores unhandled signals.
        signal.signal(number, lambda *_: sys.exit(0))
    if reload:
        run_reloading(context.obj)
        return
    child = Child.from_environment(shutdown_timeout)
    if child is None:
        _warn_of_unknown_variables(context)
    shutdown_timeout = reloaded_timeout(shutdown_timeout)
    with import_application(application, dsn) as app:
        if log_config:
            configure_logging(log_level, log_format)
        with connect(app.dsn):  # if that fails, it fails now, with a message that names the host
            pass
        health = None if health_port is None else HealthAddress(health_port, health_host)
        # The metrics are read in the thread of a request, and must not use up the connections of the application.
        metrics_of = Client(lambda: app.dsn, pool_size=1, timeout=5.0) if metrics_database else None
        if child is None and processes > 1:
            from ..service.supervisor import Supervisor, child_command

            loop_factory(loop)
            supervisor = Supervisor(
                child_command(context.obj), processes,
                shutdown_timeout=shutdown_timeout, health=health, metrics_of=metrics_of,
            )  # fmt: skip
            raise typer.Exit(asyncio.run(supervisor.run()))
        settings = {key: value for key, value in context.params.items() if key in _SETTINGS}
        settings["shutdown_timeout"] = shutdown_timeout
        if child is not None and name:
            settings["name"] = f"{name}-{child.number}"
        if queue:
            settings["queues"] = parse_queues(queue, concurrency)
        run_worker(app.worker(**settings), health=health, metrics_of=metrics_of, loop=loop, child=child)


def _warn_of_unknown_variables(context: typer.Context) -> None:
    """Report variables of the environment that are named like options of this command, and are of none that it has."""
    import difflib

    prefix = f"{context.auto_envvar_prefix}_"
    options = [str(option.name).upper() for option in context.command.params]
    for variable in sorted(os.environ):
        name = variable.removeprefix(prefix)
        if variable.startswith(prefix) and name not in options and not _OF_A_SERVICE.search(variable):
            near = difflib.get_close_matches(name, options, 1)
            advice = f"did you mean {prefix}{near[0]}?" if near else "see underway worker --help"
            print_error(f"warning: no option has the environment variable {variable}; {advice}")
