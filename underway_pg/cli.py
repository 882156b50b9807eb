"""The command line `underway`: install the schema, run workers, look after queues and tasks.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage. An error is one line on stderr that says what to do.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import math
import os
import re
import sys
import traceback
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import psycopg

from . import schema, statements
from .app import App
from .client import execute
from .client import wait as wait_on
from .connections import connect
from .cron import MACROS
from .errors import ConfigurationError, Refusal, ScheduleNotFound, TaskNotFound, UnderwayError, WrongState
from .rows import QueueStats, ScheduleStats, State, TaskInfo, WorkerStats
from .settings import AfterFailure, OnConflict, Options, Queue, RetryPolicy, Schedule
from .statements import Statement
from .supervisor import Child, supervise
from .waiting import Waiting
from .worker import Worker, WorkerSettings, run_worker

try:
    import cron_descriptor
    import typer
    import watchfiles
    from pythonjsonlogger.json import JsonFormatter
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
    from rich.table import Table
    from rich.text import Text
    from typer.main import get_command
except ModuleNotFoundError as missing:
    raise SystemExit(f"underway: {missing.name} is not installed: pip install 'underway-pg[cli]'") from None

__all__ = ["commands", "main"]

T = TypeVar("T")
Connection = psycopg.Connection[Any]

logger = logging.getLogger("underway_pg")

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
queue_commands = typer.Typer(help="Create, change, pause, resume and drop queues, and set their limits.")
commands.add_typer(queue_commands, name="queue")
schedule_commands = typer.Typer(help="Add, remove, pause, resume, run and sync schedules.")
commands.add_typer(schedule_commands, name="schedule")
batch_commands = typer.Typer(help="Cancel batches.")
commands.add_typer(batch_commands, name="batch")

_NO_DATABASE = "no database is given: use --dsn postgresql://user@host/database, or set DATABASE_URL"

# What a worker does when nothing is said.
_WORKER: Mapping[str, Any] = Worker.__init__.__kwdefaults__ or {}


class _WrongUsage(Exception):
    """What is asked for makes no sense; the message says what would."""


# What options mean


def _duration(text: str) -> timedelta:
    """A length of time: a number of seconds, or one with a unit."""
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip(), re.ASCII)
    try:
        if match:
            return timedelta(seconds=float(match[1]) * units[match[2]])
    except OverflowError:
        pass
    raise typer.BadParameter(f"{text!r} is no duration; write it as 90, 1.5, 10s, 5m, 2h or 1d")


def _size(text: str) -> int:
    """An amount of memory in bytes: a number, or one with a unit, which are powers of 1024."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)B?", text.strip(), re.ASCII | re.IGNORECASE)
    if not match:
        raise typer.BadParameter(f"{text!r} is no size; write it as 512MB or 2GB")
    return int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ")


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write it as 2030-01-31T09:00:00Z") from None
    if at.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone; append Z or an offset such as +02:00")
    return at


def _input(text: str) -> Any:
    """A task's input from JSON text; `-` stands for what comes from stdin."""
    if text == "-":
        text = sys.stdin.read()
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _WrongUsage(f"the input is no JSON: {error}") from None


def _headers(pairs: Iterable[str]) -> dict[str, str]:
    headers = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise _WrongUsage(f"{pair!r} is no header; write it as name=value")
        headers[name] = value
    return headers


def _application(path: str, dsn: str | None) -> App:
    """Import the application `module:name`, and have it use the database `dsn` where one is given."""
    module_name, _, name = path.partition(":")
    name = name or "app"
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise _WrongUsage(f"{path!r} is no application; write MODULE:APP, such as tasks:app")
    if dsn:
        os.environ["DATABASE_URL"] = dsn  # for an application that connects while it is imported
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ConfigurationError:
        raise  # it names its place itself
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise _WrongUsage(f"there is no module {error.name!r} in {Path.cwd()} or on the Python path") from None
        logger.debug("importing %s failed", module_name, exc_info=error)
        hint = "--log-level debug shows the traceback"
        raise ConfigurationError(f"importing {module_name} failed: {_where(error)}; {hint}") from error
    application = getattr(module, name, None)
    if not isinstance(application, App):
        found = ", ".join(f"{module_name}:{key}" for key, value in vars(module).items() if isinstance(value, App))
        raise _WrongUsage(
            f"{name!r} in module {module_name!r} is no App; " + (f"found: {found}" if found else "it has none")
        )
    if dsn:
        application.dsn = dsn
    if not application.has_dsn:
        raise _WrongUsage(f"{_NO_DATABASE}, or give it to the App")
    return application


def _where(error: Exception) -> str:
    """An error of somebody else's code in one line, with its place."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return text  # it names its place itself
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{text} ({last.filename}:{last.lineno})"


def _duration_option(help: str) -> Any:
    return typer.Option(parser=_duration, metavar="DURATION", help=help, show_default=False)


def _limit_option(help: str, *, least: int = 0) -> Any:
    return typer.Option(min=least, max=2**31 - 1, help=help, show_default=False)


_Dsn = Annotated[
    str | None,
    typer.Option("--dsn", envvar="DATABASE_URL", help="The database: a PostgreSQL URI.", show_default=False),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Name = Annotated[str, typer.Argument(metavar="QUEUE", help="The name of a queue.")]
_Task = Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="The id of a task.")]
_Application = Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the App is; APP is app by default.")]
_Tasks = Annotated[list[int], typer.Argument(metavar="ID...", min=1, max=2**63 - 1, help="The ids of tasks.")]


# The schema, the worker, the demo


def _print_version(asked: bool) -> None:
    if asked:
        try:
            print(f"underway {importlib.metadata.version('underway-pg')}")
        except importlib.metadata.PackageNotFoundError:
            print("underway, not installed: run from a checkout")
        raise typer.Exit


@commands.callback()
def underway(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Underway: a job queue in PostgreSQL.

    Durations are seconds (90, 1.5), or have a unit: 10s, 5m, 2h, 1d.
    """


@commands.command()
def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done, and do nothing.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the installation as SQL; needs no database.")] = False,
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """Install or upgrade the schema; run again, it changes nothing."""
    if sql and (plan or as_json):
        raise _WrongUsage("--sql prints the whole script; leave out --plan and --json")
    if sql:
        typer.echo(schema.script(), nl=False)
        return
    if plan:
        with _connect(dsn) as connection:
            todo = schema.plan(connection)
    else:
        todo = schema.migrate(_given(dsn))
    if as_json:
        _print_json(asdict(todo))
        return
    for name in todo.migrations:
        _print(f"{'to apply' if plan else 'applied'}: migration {name}")
    if todo.functions:
        _print(f"{'to install' if plan else 'installed'}: the functions")
    if not todo:
        _print("nothing to do")


@commands.command()
def worker(
    application: _Application,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", help="Serve this queue; may be repeated. By default all of the App.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="How many tasks run at once.")] = _WORKER["concurrency"],
    grace: Annotated[
        timedelta | None,
        _duration_option(
            f"How long running tasks may take to end when the worker stops (default {_WORKER['grace']:g})."
        ),
    ] = None,
    ahead: Annotated[
        float, typer.Option(min=0, max=1, help="Seconds of work to claim beyond what runs; 0 for none.")
    ] = _WORKER["ahead"],
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
    leave_unknown_jobs: Annotated[
        bool, typer.Option("--leave-unknown-jobs", help="Leave tasks of unknown jobs to other workers.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="The worker's name; by default host and process id.")] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="How many such workers, each a process; one that dies is started again.")
    ] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start anew when a Python file below this directory changes.")
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
) -> None:
    """Run the jobs of an application until SIGTERM or SIGINT; a second signal gives running tasks back at once."""
    _log(log_level, log_format)
    if reload and drain:
        raise _WrongUsage("a worker that drains ends, and one that reloads does not: give --drain or --reload")
    child = Child.of_environment()
    if child is None and (processes > 1 or reload):
        if not reload:
            with _application(application, dsn) as app:
                _connect(app.dsn).close()
        changes = watchfiles.awatch(Path.cwd(), watch_filter=watchfiles.PythonFilter()) if reload else None
        raise typer.Exit(supervise(processes, changes))
    if child is not None and processes > 1:
        name = f"{name}-{child.number}" if name else None
        health_port = health_port + child.number - 1 if health_port else health_port
    settings = WorkerSettings(
        concurrency=concurrency,
        unknown_jobs="leave" if leave_unknown_jobs else "fail",
        ahead=ahead,
        drain=drain,
        max_tasks_per_process=max_tasks_per_process,
        max_memory_per_process=max_memory_per_process,
        log_tasks=log_tasks,
        log_inputs=log_inputs,
        name=name,
    )
    if grace is not None:
        settings["grace"] = grace.total_seconds()
    if queue:
        settings["queues"] = queue
    with _application(application, dsn) as app:
        _connect(app.dsn).close()  # where that fails it says so at once, and names the host
        run_worker(app.worker(**settings), health_port=health_port, parent=child.pipe if child else None)


def _log(level: str, form: str) -> None:
    """Log to stderr, in lines of text or of JSON."""
    handler = logging.StreamHandler()
    fields = "%(asctime)s %(levelname)s %(message)s"
    handler.setFormatter(JsonFormatter(fields) if form == "json" else logging.Formatter(fields))
    logging.basicConfig(level=level.upper(), handlers=[handler])


@commands.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def demo(context: typer.Context) -> None:
    """See a queue at work: a worker, a few jobs, and what became of them."""
    from .demo import main as run_demo

    raise typer.Exit(run_demo(context.args))


# Tasks


@commands.command()
def enqueue(
    queue: _Name,
    input: Annotated[str, typer.Argument(metavar="INPUT", help="The input as JSON; - reads it from stdin.")] = "{}",
    job: Annotated[str | None, typer.Option(help="The name of the job.")] = None,
    delay: Annotated[timedelta | None, _duration_option("Run it so much later.")] = None,
    run_at: Annotated[
        datetime | None,
        typer.Option(parser=_time, metavar="TIME", help="Run it then: 2030-01-31T09:00:00Z.", show_default=False),
    ] = None,
    priority: Annotated[int, typer.Option(min=-(2**31), max=2**31 - 1, help="Higher runs first.")] = 0,
    timeout: Annotated[timedelta | None, _duration_option("The longest that one attempt may run.")] = None,
    ttl: Annotated[timedelta | None, _duration_option("How long it is kept when it is finished.")] = None,
    header: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A header; may be repeated.")] = None,
    unique_key: Annotated[
        str | None, typer.Option(help="At most one live task of the queue has this key.", show_default=False)
    ] = None,
    on_conflict: Annotated[OnConflict, typer.Option(help="What to do when the unique key is taken.")] = "return",
    unique_for: Annotated[
        timedelta | None, _duration_option("The unique key is taken for so long, even if the task succeeds before.")
    ] = None,
    concurrency_key: Annotated[
        str | None, typer.Option(help="Tasks that share this key take turns.", show_default=False)
    ] = None,
    after: Annotated[
        list[int] | None, typer.Option(metavar="ID", help="Run it when this task has succeeded; may be repeated.")
    ] = None,
    after_failure: Annotated[
        AfterFailure, typer.Option(help="When one of those does not succeed: wait for its retry, fail, or run.")
    ] = "wait",
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """Enqueue a task, and print its id; where its unique key is taken, that of the task that has it."""
    options = Options(
        delay=delay, run_at=run_at, priority=priority, timeout=timeout, ttl=ttl,
        headers=_headers(header) if header else None, unique_key=unique_key, on_conflict=on_conflict,
        unique_for=unique_for, concurrency_key=concurrency_key, after=after, after_failure=after_failure,
    )  # fmt: skip
    id = _ask(dsn, statements.enqueue(queue, _input(input), job, options))
    if as_json:
        _print_json({"id": id})
    else:
        _print(str(id))


@commands.command()
def tasks(
    queue: Annotated[str | None, typer.Option(help="Of this queue alone.")] = None,
    state: Annotated[State | None, typer.Option(help="In this state alone.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=2**31 - 1, help="How many at most.")] = 50,
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """List the newest tasks, live and finished."""
    found, now = _ask_with_time(dsn, statements.tasks(queue, state, limit))
    if as_json:
        _print_json([asdict(task) for task in found])
        return
    _print_table(
        ["id", "queue", "job", "state", "attempt", "priority", "enqueued", "due", "started", "finished",
         "dead letter of"],
        [
            [
                task.id, task.queue, task.job, task.state, task.attempt, task.priority,
                _relative(task.enqueued_at, now), _relative(task.ready_at, now) if task.state == "pending" else None,
                _relative(task.started_at, now), _relative(task.finished_at, now), task.dead_letter_of,
            ]
            for task in found
        ],
        "no tasks",
    )  # fmt: skip


@commands.command()
def task(id: _Task, dsn: _Dsn = None, as_json: _Json = False) -> None:
    """Show all that is known of a task."""
    found, now = _ask_with_time(dsn, statements.task_info(id))
    if found is None:
        raise _no_task(id)
    if as_json:
        _print_json(asdict(found))
    else:
        _print(_shown(found, now))


@commands.command()
def why(id: _Task, dsn: _Dsn = None, as_json: _Json = False) -> None:
    """Say why a task is not running."""
    found = _ask(dsn, statements.why(id))
    if as_json:
        _print_json([asdict(reason) for reason in found])
    else:
        _print_table(["code", "reason"], [[reason.code, reason.reason] for reason in found], "no reason is known")


@commands.command()
def wait(
    ids: _Tasks,
    timeout: Annotated[timedelta | None, _duration_option("How long to wait at most.")] = None,
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """Wait until tasks are final, and show how they ended; the exit code is 0 when all of them succeeded."""
    waiting = Waiting(ids, None if timeout is None else timeout.total_seconds())
    # On stderr, so that what is told in the end can go elsewhere.
    progress = Progress(
        BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with _connect(dsn) as connection, progress:
        bar = progress.add_task("", total=len(waiting.tasks))
        for _ in wait_on(connection, waiting):
            progress.update(bar, completed=len(waiting.final))
    ended = list(waiting.final.values())
    if as_json:
        _print_json([asdict(task) for task in ended])
    else:
        _print_table(
            ["id", "queue", "job", "state", "attempt", "result"],
            [[task.id, task.queue, task.job, task.state, task.attempt, _result(task)] for task in ended],
        )
    if any(task.state != "succeeded" for task in ended):
        raise typer.Exit(1)


def _result(task: TaskInfo) -> str | None:
    """What a final task gave, in a line: its output, or its last error."""
    if task.state == "failed" and task.errors:
        return " ".join(_error_words(task.errors[-1]).split())
    return None if task.output is None else json.dumps(task.output, ensure_ascii=False)


@commands.command()
def cancel(ids: _Tasks, dsn: _Dsn = None, as_json: _Json = False) -> None:
    """Cancel live tasks, running or not."""

    def cancel_one(connection: Connection, id: int) -> None:
        if not execute(connection, statements.cancel(id)):
            found = execute(connection, statements.task_info(id))
            if found is None:
                raise _no_task(id)
            raise WrongState(f"task {id} is {found.state}", "Only a live task can be cancelled.")

    _each(dsn, ids, cancel_one, "cancelled", as_json)


@commands.command()
def retry(ids: _Tasks, dsn: _Dsn = None, as_json: _Json = False) -> None:
    """Make failed or cancelled tasks pending again, with fresh attempts."""
    _each(dsn, ids, lambda connection, id: execute(connection, statements.retry(id)), "retried", as_json)


@commands.command()
def redrive(
    queue: _Name,
    max_tasks: Annotated[int, typer.Option("--max", min=1, max=2**31 - 1, help="How many at most.")] = 1000,
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """Move the dead letters of a queue back to where they came from."""
    count = _ask(dsn, statements.redrive(queue, max_tasks))
    if as_json:
        _print_json({"redriven": count})
    else:
        _print(f"{count} {'task is' if count == 1 else 'tasks are'} back in the queue of origin")


# Queues, workers, the whole


@commands.command()
def queues(dsn: _Dsn = None, as_json: _Json = False) -> None:
    """List the queues, and what lies in them."""
    found, now = _ask_with_time(dsn, statements.queues())
    if as_json:
        _print_json([asdict(queue) for queue in found])
        return
    _print_table(
        ["queue", "state", "ready", "oldest", "parked", "scheduled", "running", "waiting", "dead letters", "workers",
         "limits", "paused keys", "dead-letter queue"],
        [
            [
                queue.queue, "paused" if queue.paused_at else "open", queue.ready,
                _relative(queue.oldest_ready_at, now), queue.parked, queue.scheduled, queue.in_progress, queue.waiting,
                queue.dead_letters, queue.workers, _limits(queue), _some(queue.paused_keys), queue.dead_letter_queue,
            ]
            for queue in found
        ],
        "no queues; create one: underway queue create NAME",
    )  # fmt: skip


def _limits(queue: QueueStats) -> str:
    """The limits of a queue that are not the default, in words."""
    return ", ".join(
        words
        for words, given in (
            (f"{queue.max_running} running", queue.max_running is not None),
            (f"{queue.max_running_per_key} of a key", queue.max_running_per_key != 1),
            (f"{queue.rate_limit} in {queue.rate_period.total_seconds():g} s", queue.rate_limit is not None),
            (
                f"{queue.rate_limit_per_key} of a key in {queue.rate_period.total_seconds():g} s",
                queue.rate_limit_per_key is not None,
            ),
            (f"{queue.max_length} long", queue.max_length is not None),
            ("fair", queue.fair),
        )
        if given
    )


def _some(names: list[str]) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@queue_commands.command("create")
def create_queue(
    name: _Name,
    dead_letter_queue: Annotated[
        str | None, typer.Option(help='Where tasks go that fail for good; "" for nowhere.', show_default=False)
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="How often a task is tried.", show_default=False)
    ] = None,
    initial_interval: Annotated[timedelta | None, _duration_option("The wait after the first failure.")] = None,
    max_interval: Annotated[timedelta | None, _duration_option("The longest wait between attempts.")] = None,
    factor: Annotated[float | None, typer.Option(help="By how much the wait grows.", show_default=False)] = None,
    jitter: Annotated[
        float | None, typer.Option(help="The share of a wait that chance may take off.", show_default=False)
    ] = None,
    timeout: Annotated[timedelta | None, _duration_option("The longest that one attempt may run.")] = None,
    heartbeat: Annotated[timedelta | None, _duration_option("How long a lease lasts without a heartbeat.")] = None,
    ttl: Annotated[timedelta | None, _duration_option("How long a finished task is kept.")] = None,
    keep_history: Annotated[
        bool | None,
        typer.Option(
            "--keep-history/--no-keep-history", help="Whether tasks that succeed are kept.", show_default=False
        ),
    ] = None,
    max_running: Annotated[
        int | None, _limit_option("The most tasks that run at once, over all workers; 0 for no limit.")
    ] = None,
    max_running_per_key: Annotated[
        int | None, _limit_option("The most tasks of one concurrency key that run at once.", least=1)
    ] = None,
    rate_limit: Annotated[
        int | None, _limit_option("The most tasks that start in a rate period, over all workers; 0 for no limit.")
    ] = None,
    rate_period: Annotated[timedelta | None, _duration_option("The length of a rate period.")] = None,
    rate_limit_per_key: Annotated[
        int | None, _limit_option("The same for each concurrency key; 0 for no limit.")
    ] = None,
    max_length: Annotated[
        int | None, _limit_option("The most tasks that may wait in the queue; 0 for no limit.")
    ] = None,
    fair: Annotated[
        bool | None,
        typer.Option("--fair/--no-fair", help="Whether its concurrency keys are served in turn.", show_default=False),
    ] = None,
    dsn: _Dsn = None,
) -> None:
    """Create a queue, or change the settings that are given. A change of a limit counts from the next claim on.

    A retry policy is changed as a whole: with one of its five settings given, the others have their defaults.
    """
    policy: dict[str, Any] = {
        "max_attempts": max_attempts, "initial_interval": initial_interval, "max_interval": max_interval,
        "factor": factor, "jitter": jitter,
    }  # fmt: skip
    policy = {part: value for part, value in policy.items() if value is not None}
    queue = Queue(
        name=name,
        dead_letter_queue=dead_letter_queue,
        retry=RetryPolicy(**policy) if policy else None,
        timeout=timeout,
        heartbeat=heartbeat,
        ttl=ttl,
        keep_history=keep_history,
        max_running=max_running,
        max_running_per_key=max_running_per_key,
        rate_limit=rate_limit,
        rate_period=rate_period,
        max_length=max_length,
        rate_limit_per_key=rate_limit_per_key,
        fair=fair,
    )
    _ask(dsn, statements.create_queue(queue))
    _print(f"queue {name} is there")


_Key = Annotated[
    str | None, typer.Option("--key", help="Only the tasks with this concurrency key.", show_default=False)
]


@queue_commands.command("pause")
def pause_queue(name: _Name, key: _Key = None, dsn: _Dsn = None) -> None:
    """Let nobody start tasks of a queue, or those of one concurrency key; what runs, runs on."""
    if key is None:
        what, changed = f"queue {name}", _ask(dsn, statements.pause_queue(name))
    else:
        what, changed = f"key {key} of queue {name}", _ask(dsn, statements.pause_key(name, key))
    _print(f"{what} {'is paused' if changed else 'was paused already'}")


@queue_commands.command("resume")
def resume_queue(name: _Name, key: _Key = None, dsn: _Dsn = None) -> None:
    """Let the tasks of a paused queue run again, or those of one paused concurrency key."""
    if key is None:
        what, changed = f"queue {name}", _ask(dsn, statements.resume_queue(name))
    else:
        what, changed = f"key {key} of queue {name}", _ask(dsn, statements.resume_key(name, key))
    _print(f"{what} {'is open' if changed else 'was open already'}")


@queue_commands.command("drop")
def drop_queue(
    name: _Name,
    force: Annotated[bool, typer.Option("--force", help="Cancel its live tasks.")] = False,
    dsn: _Dsn = None,
) -> None:
    """Remove a queue. Its finished tasks stay in the history for their time."""
    _ask(dsn, statements.drop_queue(name, force))
    _print(f"queue {name} is gone")


# Batches


@commands.command()
def batches(
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many at most.")] = 50,
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """List the newest batches, and how far they are."""
    found, now = _ask_with_time(dsn, statements.batches(limit))
    if as_json:
        _print_json([asdict(batch) for batch in found])
        return
    _print_table(
        ["id", "name", "state", "progress", "tasks", "live", "succeeded", "failed", "cancelled", "on success",
         "on final", "on failure", "created", "final"],
        [
            [
                batch.batch, batch.name, batch.state, f"{math.floor(100 * batch.progress)} %", batch.tasks, batch.live,
                batch.succeeded, batch.failed, batch.cancelled, batch.on_success, batch.on_final, batch.on_failure,
                _relative(batch.created_at, now), _relative(batch.final_at, now),
            ]
            for batch in found
        ],
        "no batches",
    )  # fmt: skip


@batch_commands.command("cancel")
def cancel_batch(
    batch: Annotated[int, typer.Argument(metavar="ID", help="The id of a batch.")],
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """Cancel the live tasks of a batch. What waits for its end runs then."""
    count = _ask(dsn, statements.cancel_batch(batch))
    if as_json:
        _print_json({"cancelled": count})
    else:
        _print(
            f"{count} {'task' if count == 1 else 'tasks'} of batch {batch} {'is' if count == 1 else 'are'} cancelled"
        )


# Schedules

_Schedule = Annotated[str, typer.Argument(metavar="NAME", help="The name of a schedule.")]
_Cron = Annotated[
    str,
    typer.Argument(
        metavar="CRON", help="5 fields, minute first; 6, second first; 7, year last; or @daily and the like."
    ),
]
_Zone = Annotated[str | None, typer.Option("--zone", help="Whose clocks count, such as Europe/Berlin; UTC by default.")]


@commands.command()
def schedules(dsn: _Dsn = None, as_json: _Json = False) -> None:
    """List the schedules with their last and next times."""
    found, now = _ask_with_time(dsn, statements.schedules())
    if as_json:
        _print_json([asdict(schedule) for schedule in found])
        return
    _print_table(
        ["schedule", "queue", "job", "cron", "in words", "zone", "state", "next", "last", "last task", "error"],
        [
            [
                each.schedule, each.queue, each.job, each.cron, _in_words(each.cron), each.time_zone,
                _schedule_state(each), None if each.paused_at else _relative(each.next_at, now),
                _relative(each.last_at, now), each.last_task, (each.last_error or {}).get("message"),
            ]
            for each in found
        ],
        "no schedules; add one: underway schedule add NAME QUEUE CRON",
    )  # fmt: skip


@commands.command()
def cron(
    expression: _Cron,
    zone: _Zone = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1000, help="How many times.")] = 5,
    after: Annotated[
        datetime | None,
        typer.Option(parser=_time, metavar="TIME", help="From when on, instead of now.", show_default=False),
    ] = None,
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """Say what a cron expression means, and preview its next times.

    The database computes them. Without one, an embedded PostgreSQL does.
    """
    with App(dsn) as app:
        found = app.client.cron_preview(expression, zone, after=after, count=count)
    if as_json:
        _print_json({"cron": expression, "in_words": _in_words(expression), "next": found})
        return
    if words := _in_words(expression):
        _print(words)
    for at in found:
        _print(f"{at.astimezone(_clocks(expression, zone)):%a %Y-%m-%d %H:%M:%S %z}")
    if not found:
        _print("it never comes")


@schedule_commands.command("add")
def add_schedule(
    name: _Schedule,
    queue: _Name,
    cron: _Cron,
    input: Annotated[str, typer.Argument(metavar="INPUT", help="The input as JSON; - reads it from stdin.")] = "{}",
    zone: _Zone = None,
    job: Annotated[str | None, typer.Option(help="The name of the job.")] = None,
    missed: Annotated[
        Literal["skip", "once", "all"], typer.Option(help="What to do about times at which no worker was there.")
    ] = "once",
    missed_limit: Annotated[int, typer.Option(min=1, max=1000, help="How many missed times all means at most.")] = 100,
    overlap: Annotated[
        Literal["allow", "skip"], typer.Option(help="Whether a time comes while the previous task is live.")
    ] = "allow",
    jitter: Annotated[timedelta | None, _duration_option("Start each task up to so much later, by chance.")] = None,
    starts_at: Annotated[
        datetime | None, typer.Option(parser=_time, metavar="TIME", help="No time before.", show_default=False)
    ] = None,
    ends_at: Annotated[
        datetime | None, typer.Option(parser=_time, metavar="TIME", help="No time after.", show_default=False)
    ] = None,
    priority: Annotated[int, typer.Option(min=-(2**31), max=2**31 - 1, help="Higher runs first.")] = 0,
    timeout: Annotated[timedelta | None, _duration_option("The longest that one attempt may run.")] = None,
    ttl: Annotated[timedelta | None, _duration_option("How long a task is kept when it is finished.")] = None,
    header: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A header; may be repeated.")] = None,
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """Add a schedule, or replace the one of this name."""
    schedule = Schedule(
        name=name, queue=queue, cron=cron, input=_input(input), job=job, time_zone=zone, missed=missed,
        missed_limit=missed_limit, overlap=overlap, jitter=jitter or 0, starts_at=starts_at, ends_at=ends_at,
        options=Options(
            priority=priority, timeout=timeout, ttl=ttl, headers=_headers(header) if header else None
        ),
    )  # fmt: skip
    next_at, now = _ask_with_time(dsn, statements.schedule(schedule))
    if as_json:
        _print_json({"schedule": name, "next_at": next_at})
    else:
        _print(f"schedule {name} is there; its next time is {_exactly(next_at, now) or 'over'}")


@schedule_commands.command("remove")
def remove_schedule(name: _Schedule, dsn: _Dsn = None) -> None:
    """Remove a schedule. The tasks that it has enqueued stay."""
    if not _ask(dsn, statements.unschedule(name)):
        raise ScheduleNotFound(f"schedule {name!r} does not exist", "underway schedules lists them.")
    _print(f"schedule {name} is gone")


@schedule_commands.command("pause")
def pause_schedule(name: _Schedule, dsn: _Dsn = None) -> None:
    """Let a schedule enqueue nothing until it is resumed."""
    changed = _ask(dsn, statements.pause_schedule(name))
    _print(f"schedule {name} {'is paused' if changed else 'was paused already'}")


@schedule_commands.command("resume")
def resume_schedule(name: _Schedule, dsn: _Dsn = None) -> None:
    """Let a paused schedule go on with its next time; those in between are left out."""
    changed = _ask(dsn, statements.resume_schedule(name))
    _print(f"schedule {name} {'goes on' if changed else 'was not paused'}")


@schedule_commands.command("run")
def run_schedule(name: _Schedule, dsn: _Dsn = None, as_json: _Json = False) -> None:
    """Enqueue the task of a schedule now, beside its times, and print its id."""
    id = _ask(dsn, statements.run_schedule_now(name))
    if as_json:
        _print_json({"id": id})
    else:
        _print(str(id))


@schedule_commands.command("sync")
def sync_schedules(
    application: _Application,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove those that the App declared earlier and does not any more.")
    ] = False,
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """Put the schedules that an application declares into the database, as its worker does when it starts."""
    with _application(application, dsn) as app:
        synced = asdict(app.sync_schedules(remove=remove))
    if as_json:
        _print_json(synced)
        return
    for what, names in synced.items():
        for name in names:
            _print(f"{what}: {name}")
    if not any(synced.values()):
        _print("the application declares no schedules")


def _schedule_state(schedule: ScheduleStats) -> str:
    if schedule.paused_at:
        return "paused"
    if schedule.last_error:
        return "failing"
    return "on" if schedule.next_at else "over"


def _clocks(cron: str, zone: str | None) -> tzinfo:
    """The zone whose clocks a cron expression goes by; UTC where Python does not know it."""
    in_brackets = re.search(r"\[(.*)\]", cron)
    try:
        return zoneinfo.ZoneInfo(in_brackets[1] if in_brackets else zone or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _in_words(cron: str) -> str | None:
    """What a cron expression says, in plain English; None where the library has no words for it, or wrong ones."""
    expression = cron.partition("[")[0].strip()
    fields = MACROS.get(expression.lower(), expression).upper().split()
    options = cron_descriptor.Options()
    options.use_24hour_time_format = True
    try:
        words = str(cron_descriptor.get_description(" ".join(fields), options))
    except Exception:  # somebody else's code, and only for a description
        return None
    if len(fields) == 5:
        fields.insert(0, "0")
    days = fields[3:6:2]
    # It misreads days by rule and a * in a list, steps wider than their field, and two day fields where one is a range:
    # either matches, not both.
    by_rule_in_list = any("," in field and re.search(r"#|\dW|L", field) for field in days)
    star_in_list = any("," in field and "*" in field.split(",") for field in fields)
    too_wide = any(
        int(step) >= width
        for field, width in zip(fields, (60, 60, 24, 31, 12, 7, 130), strict=False)
        for step in re.findall(r"/(\d+)", field)
    )
    both = " or " not in words and all(field not in ("*", "?") for field in days)
    return None if by_rule_in_list or star_in_list or too_wide or both else words


@commands.command()
def workers(dsn: _Dsn = None, as_json: _Json = False) -> None:
    """List the workers, and what they hold."""
    found, now = _ask_with_time(dsn, statements.workers())
    if as_json:
        _print_json([asdict(worker) for worker in found])
        return
    _print_table(
        ["id", "name", "queues", "state", "running", "concurrency", "oldest task", "started", "seen"],
        [
            [
                worker.id, worker.name, ", ".join(worker.queues),
                _worker_state(worker), worker.in_progress, worker.concurrency,
                _relative(worker.oldest_started_at, now), _relative(worker.started_at, now),
                _relative(worker.seen_at, now),
            ]
            for worker in found
        ],
        "no workers; start one: underway worker MODULE:APP",
    )  # fmt: skip


def _worker_state(worker: WorkerStats) -> str:
    if worker.lost:
        return "lost"
    if worker.stop_asked_at:
        return "stopping"
    return "idle" if worker.idle else "busy"


@commands.command()
def stats(dsn: _Dsn = None, as_json: _Json = False) -> None:
    """Show the whole installation in a few numbers."""
    numbers = _ask(dsn, statements.stats())
    if as_json:
        _print_json(numbers)
    else:
        _print_table(["what", "value"], [[name.replace("_", " "), f"{value:.10g}"] for name, value in numbers.items()])


@commands.command()
def stop(
    worker: Annotated[int | None, typer.Option(metavar="ID", help="The worker of this id.", show_default=False)] = None,
    queue: Annotated[str | None, typer.Option(help="The workers that serve this queue.", show_default=False)] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All workers.")] = False,
    dsn: _Dsn = None,
    as_json: _Json = False,
) -> None:
    """Ask workers to stop, wherever they run: they let running tasks end, and give back the rest."""
    if [worker is not None, queue is not None, everyone].count(True) != 1:
        raise _WrongUsage("say which workers are to stop: --worker ID, --queue NAME or --all")
    count = _ask(dsn, statements.stop_workers(worker, queue, everyone))
    if as_json:
        _print_json({"asked": count})
    else:
        _print(f"{count} {'worker is' if count == 1 else 'workers are'} asked to stop")


# The database


def _given(dsn: str | None) -> str:
    if not dsn:
        raise _WrongUsage(_NO_DATABASE)
    return dsn


def _connect(dsn: str | None) -> Connection:
    return connect(_given(dsn))


def _ask(dsn: str | None, statement: Statement[T]) -> T:
    with _connect(dsn) as connection:
        return execute(connection, statement)


def _ask_with_time(dsn: str | None, statement: Statement[T]) -> tuple[T, datetime]:
    """The answer, and the time by the clock of the database, which its times are relative to."""
    with _connect(dsn) as connection:
        answer = execute(connection, statement)
        now: datetime = connection.execute("select clock_timestamp()").fetchall()[0][0]
        return answer, now


def _each(dsn: str | None, ids: list[int], act: Callable[[Connection, int], None], done: str, as_json: bool) -> None:
    """Do something with each of these tasks. One that is refused does not stop the others; then the exit code is 1."""
    acted: list[int] = []
    refused: list[dict[str, Any]] = []
    with _connect(dsn) as connection:
        for id in ids:
            try:
                act(connection, id)
            except Refusal as error:
                refused.append({"id": id, "message": str(error)})
            else:
                acted.append(id)
    if as_json:
        _print_json({done: acted, "refused": refused})
    for id in acted if not as_json else ():
        _print(f"task {id} is {done}")
    for refusal in refused:
        _complain(refusal["message"])
    if refused:
        raise typer.Exit(1)


def _no_task(id: int) -> TaskNotFound:
    return TaskNotFound(f"task {id} does not exist", "It was deleted, or its time in the history is over.")


# Output

_STATE_STYLES = {
    "in_progress": "cyan", "busy": "cyan", "succeeded": "green", "failed": "red", "lost": "red", "paused": "yellow",
    "cancelled": "dim", "failing": "red", "over": "dim",
}  # fmt: skip

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _printable(text: str) -> str:
    """Text without control characters: what tasks bring along must not steer the terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _print(text: str) -> None:
    typer.echo(_printable(text))


def _complain(text: str) -> None:
    typer.echo(_printable(f"underway: {' '.join(text.split())}"), err=True)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=_json_value))


def _json_value(value: object) -> object:
    """Times as ISO text, lengths of time as seconds."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{value!r} has no form in JSON")


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str = "") -> None:
    """A table. On a terminal cells fold rather than lose anything; elsewhere a row is a line, however long."""
    if not rows:
        _print(empty)
        return
    on_terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=not on_terminal or column == "id", overflow="fold")
    for row in rows:
        cells = ["" if cell is None else _printable(str(cell)) for cell in row]
        table.add_row(
            *(
                Text(cell, style=_STATE_STYLES.get(cell, "") if column == "state" else "")
                for column, cell in zip(columns, cells, strict=True)
            )
        )
    Console(width=None if on_terminal else 100_000).print(table)


def _relative(at: datetime | None, now: datetime) -> str | None:
    """How far away a time is, in words."""
    if at is None:
        return None
    seconds = (at - now).total_seconds()
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    # Half a second less does it: what was just put off for an hour is due in an hour.
    unit, length = next((unit for unit in units if abs(seconds) >= unit[1] - 0.5), units[-1])
    words = f"{abs(seconds) / length:.0f} {unit}"
    return f"in {words}" if seconds > 0 else f"{words} ago"


def _exactly(at: datetime | None, now: datetime) -> str | None:
    return None if at is None else f"{at.isoformat(' ', 'milliseconds')} ({_relative(at, now)})"


def _shown(task: TaskInfo, now: datetime) -> str:
    """All that is known of a task, for people."""
    letter = task.dead_letter or {}
    facts = {
        "task": task.id,
        "queue": task.queue,
        "job": task.job,
        "state": task.state,
        "attempt": task.attempt if task.max_attempts is None else f"{task.attempt} of {task.max_attempts}",
        "priority": task.priority,
        "dead letter": f"of task {letter.get('task')} of queue {letter.get('queue')}" if letter else None,
        "unique key": task.unique_key,
        "concurrency": task.concurrency_key,
        "worker": task.worker,
        "enqueued": _exactly(task.enqueued_at, now),
        "due": _exactly(task.ready_at, now) if task.state == "pending" else None,
        "started": _exactly(task.started_at, now),
        "lease until": _exactly(task.lease_expires_at, now),
        "finished": _exactly(task.finished_at, now),
        "kept until": _exactly(task.expires_at, now),
    }
    lines = [f"{name:<12} {value}" for name, value in facts.items() if value is not None]
    for name in ("input", "output", "headers", "progress"):
        value = getattr(task, name)
        if value is not None or name == "input":
            lines += [name, _indented(json.dumps(value, indent=2, ensure_ascii=False))]
    for error in [*(task.errors or ()), *([letter["error"]] if letter.get("error") else ())]:
        whose = f"of task {letter.get('task')}, " if error is letter.get("error") else ""
        lines.append(f"error {whose}attempt {error.get('attempt')}, {error.get('failed_at')}")
        lines.append(_indented(_error_words(error)))
        if error.get("traceback"):
            lines.append(_indented(error["traceback"].rstrip()))
    return "\n".join(lines)


def _error_words(error: Mapping[str, Any]) -> str:
    return f"{error.get('type', 'error')}: {error.get('message', '')}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


# Errors


def _explained(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the one line for an error; None for one that should not happen."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    # typer's own, which come from click or from typer's copy of it, as its version has it.
    if isinstance(error, Exception) and hasattr(error, "format_message"):
        path = getattr(getattr(error, "ctx", None), "command_path", "underway")
        message = error.format_message().replace("Value error, ", "").removesuffix(".")
        return 2, f"{message}; see {path} --help"
    match error:
        case _WrongUsage():
            return 2, str(error)
        case UnderwayError():
            return 1, str(error)
        case psycopg.ProgrammingError(sqlstate=None):
            return 2, "the dsn is no PostgreSQL URI; write it as postgresql://user:password@host:port/database"
        case psycopg.OperationalError(sqlstate=None):
            # The first line says where and why; what follows guesses.
            return 1, f"can not reach the database: {str(error).splitlines()[0]}; check --dsn or DATABASE_URL"
        case psycopg.Error():
            hint = error.diag.message_hint
            return 1, f"the database refused: {error.diag.message_primary or error}" + (f". {hint}" if hint else "")
        case UnicodeEncodeError():
            return 2, "an argument is no UTF-8 text; give it in UTF-8"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; `arguments` are those of the process by default. Returns the exit code."""
    try:
        code = get_command(commands).main(
            args=None if arguments is None else list(arguments), prog_name="underway", standalone_mode=False
        )
    except typer.Abort:
        return 130
    except Exception as error:
        explained = _explained(error)
        if explained is None:
            raise
        code, line = explained
        _complain(line)
    return code if isinstance(code, int) else 0
