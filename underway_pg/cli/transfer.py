"""The commands `export` and `import`: tasks as JSON lines, to keep them elsewhere or to enqueue them again."""

from __future__ import annotations

import json
import sys
from array import array
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import psycopg
import typer

from ..client import execute
from ..errors import DatabaseRefusal
from . import calls as statements
from .bulk import CHUNK, Interruption, matching, progress_bar
from .database import connect, database_time
from .errors import WrongUsage
from .filters import Selection, TaskFilter, with_filter
from .options import Dsn, Json
from .output import amount, echo, echo_json, print_error

__all__ = ["commands"]

commands = typer.Typer()

# What an exported task has that is no option of a new one.
_OUTCOME = frozenset(
    {"id", "state", "attempt", "enqueued_at", "started_at", "finished_at", "reason", "output", "errors", "dead_letter"}
)

_FINAL = ("succeeded", "failed", "cancelled")


@commands.command("export")
@with_filter
def export_tasks(
    filter: TaskFilter,
    limit: Annotated[
        int | None, typer.Option("-n", "--limit", min=1, help="At most so many tasks, the newest.", show_default=False)
    ] = None,
    all_tasks: Annotated[bool, typer.Option("--all", help="All tasks, live and finished.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to this file.", show_default=False)
    ] = None,
    dsn: Dsn = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the number of tasks as JSON; needs --output.")] = False,
) -> None:
    """Write tasks as JSON lines, the oldest first: their options as underway import takes them, and their outcome.

    It needs 8 bytes of memory for each task. A task that ends meanwhile is written as it then is.
    """
    selection = Selection.of(None, filter, limit, all_tasks)
    if as_json and output is None:
        raise WrongUsage("--json needs --output: without it, stdout has the tasks, which are JSON")
    with ExitStack() as stack:
        connection = stack.enter_context(connect(dsn))
        conditions = selection.conditions(database_time(connection))
        ids = array("q")
        with progress_bar("find tasks", limit) as advance:
            for chunk in matching(connection, conditions, limit=limit):
                ids.extend(chunk)
                advance(len(chunk))
        ids.reverse()
        file = sys.stdout if output is None else stack.enter_context(_opened(output, "w"))
        advance = stack.enter_context(progress_bar("export", len(ids)))
        written = 0
        for start in range(0, len(ids), CHUNK):
            tasks = execute(connection, statements.export_tasks(ids[start : start + CHUNK].tolist()))
            file.writelines(f"{task}\n" for task in tasks)
            written += len(tasks)
            advance(CHUNK)
    if as_json:
        echo_json({"exported": written})
    elif output is not None:
        echo(f"{amount(written, 'task')} written to {output}")


@dataclass
class _Imported:
    """The lines of an import, by what was done with them; `bad` has the number of each refused line, and why."""

    enqueued: int = 0
    finished: int = 0
    waiting: int = 0
    bad: list[dict[str, Any]] = field(default_factory=list)
    next_line: int | None = None

    def refuse(self, line: int, message: str) -> None:
        self.bad.append({"line": line, "message": message})
        print_error(f"line {line}: {message}")


_Line = tuple[int, dict[str, Any]]


@commands.command("import")
def import_tasks(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON lines as of underway export; - reads stdin.")],
    again: Annotated[
        bool, typer.Option("--again", help="Enqueue finished tasks, and tasks that wait for others, too.")
    ] = False,
    from_line: Annotated[int, typer.Option(min=1, metavar="LINE", help="Begin at this line.")] = 1,
    ids: Annotated[
        Path | None,
        typer.Option(
            "--ids",
            metavar="FILE",
            help="Write the old and the new id of each task to this file, as JSON lines.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the database check each line, and enqueue nothing.")
    ] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Enqueue tasks from JSON lines: live ones as new tasks, with their queue, job, input, headers, keys and policy.

    Each line needs a queue or a job; the other keys are the options of underway.enqueue. Finished tasks are skipped. A
    line that is refused is reported by its number, and the others are enqueued; the exit code is then 1.

    Lines are enqueued 500 in a transaction. Running it twice enqueues twice, except tasks whose unique key is taken; an
    import that was interrupted says with which --from-line it goes on.
    """  # fmt: skip
    done = _Imported()
    with ExitStack() as stack:
        lines = sys.stdin if file == "-" else stack.enter_context(_opened(Path(file), "r"))
        mapping = None if ids is None else stack.enter_context(_opened(ids, "a"))
        connection = stack.enter_context(connect(dsn))
        advance = stack.enter_context(progress_bar("import", None))
        interruption = stack.enter_context(Interruption())
        numbered = islice(enumerate(lines, 1), from_line - 1, None)
        while part := list(islice(numbered, CHUNK)):
            tasks = [task for number, line in part if (task := _read(number, line, again, done))]
            _enqueue(connection, tasks, mapping, dry_run, done)
            advance(len(part))
            if interruption.asked:
                done.next_line = part[-1][0] + 1
                break
    _report(done, dry_run, as_json)


def _opened(path: Path, mode: str) -> IO[str]:
    try:
        return path.open(mode, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise WrongUsage(f"{path}: {error.strerror}") from None


def _read(number: int, line: str, again: bool, done: _Imported) -> _Line | None:
    """The task of a line with its number; None if it is skipped or refused."""
    if not line.strip():
        return None
    try:
        task = json.loads(line)
        line.encode()
    except (ValueError, RecursionError) as error:
        done.refuse(number, f"not JSON: {error}")
        return None
    if not isinstance(task, dict):
        done.refuse(number, 'not an object; write {"queue": "mail", "input": {}}')
        return None
    if not again and task.get("state") in _FINAL:
        done.finished += 1
        return None
    if not again and task.get("state") == "waiting":
        done.waiting += 1
        return None
    return number, task


def _enqueue(
    connection: psycopg.Connection[Any], tasks: list[_Line], mapping: IO[str] | None, dry_run: bool, done: _Imported
) -> None:
    """Enqueue tasks in one transaction; if the database refuses one, each by itself, so that it is known which."""
    if not tasks:
        return
    try:
        with connection.transaction(force_rollback=dry_run):
            created = execute(connection, statements.enqueue_objects([_options(task) for _, task in tasks]))
    except (DatabaseRefusal, psycopg.DataError) as error:
        if len(tasks) == 1:
            done.refuse(tasks[0][0], str(error).removeprefix("task 1 "))
            return
        middle = len(tasks) // 2
        _enqueue(connection, tasks[:middle], mapping, dry_run, done)
        _enqueue(connection, tasks[middle:], mapping, dry_run, done)
        return
    done.enqueued += len(created)
    if mapping is not None and not dry_run:
        for (number, task), new in zip(tasks, created, strict=True):
            mapping.write(json.dumps({"line": number, "id": task.get("id"), "new_id": new}) + "\n")
        mapping.flush()


def _options(task: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in task.items() if name not in _OUTCOME}


def _report(done: _Imported, dry_run: bool, as_json: bool) -> None:
    if as_json:
        echo_json(asdict(done))
    else:
        echo(f"{amount(done.enqueued, 'task')} {'would be ' if dry_run else ''}enqueued")
        if done.finished or done.waiting:
            echo(f"skipped: {done.finished:,} finished, {done.waiting:,} waiting; --again enqueues them, too")
    if done.bad:
        print_error(f"{amount(len(done.bad), 'line')} refused")
    if done.next_line is not None:
        print_error(f"stopped by Ctrl-C; go on with --from-line {done.next_line}")
        raise typer.Exit(130)
    if done.bad:
        raise typer.Exit(1)
