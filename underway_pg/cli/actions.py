"""Commands that act on tasks, named by their ids or selected by filters: cancel, retry, redrive and delete them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Annotated, Any

import psycopg
import typer

from .. import statements
from ..client import execute
from ..errors import DatabaseRefusal, DatabaseUnavailable, WrongState
from ..models import FINAL_STATES, State, TaskSummary
from ..statements import Statement
from .bulk import CHUNK, Outcome, change_all, matching, progress_bar
from .database import database_time, record
from .databases import Databases, on_databases
from .errors import WrongUsage
from .filters import Selection, StateName, TaskFilter, with_filter
from .options import Json
from .output import amount, echo, echo_json, print_error
from .tasks import no_task, show_tasks, summaries

__all__ = ["commands"]

commands = typer.Typer()

Connection = psycopg.Connection[Any]

_SHOWN = 5  # tasks of a preview


@dataclass(frozen=True, kw_only=True)
class _Action:
    """What a command does to tasks that are in one of these states: all of a chunk, or one, which says why not."""

    name: str
    done: str
    help: str
    states: tuple[State, ...]
    many: Callable[[list[int]], Statement[list[int]]]
    one: Callable[[Connection, int], None]


def _cancel_one(connection: Connection, id: int) -> None:
    if not execute(connection, statements.cancel(id)):
        raise _refusal(connection, id, "Only a live task can be cancelled.")


def _redrive_one(connection: Connection, id: int) -> None:
    if not execute(connection, statements.redrive_many([id])):
        raise _refusal(
            connection, id,
            "Only a pending dead letter can be redriven, whose queue exists and whose unique key is free.",
        )  # fmt: skip


def _refusal(connection: Connection, id: int, hint: str) -> DatabaseRefusal:
    found = execute(connection, statements.task_info(id))
    return no_task(connection, id) if found is None else WrongState(f"task {id} is {found.state}", hint)


_ACTIONS = (
    _Action(
        name="cancel",
        done="cancelled",
        help="Cancel live tasks, including running ones, whose handlers are interrupted.",
        states=("pending", "in_progress", "waiting"),
        many=statements.cancel_many,
        one=_cancel_one,
    ),
    _Action(
        name="retry",
        done="retried",
        help="Make failed or cancelled tasks pending again, with fresh attempts.",
        states=("failed", "cancelled"),
        many=statements.retry_many,
        one=lambda connection, id: execute(connection, statements.retry(id)),
    ),
    _Action(
        name="redrive",
        done="redriven",
        help="Move dead letters back to the queues they came from.",
        states=("pending",),
        many=statements.redrive_many,
        one=_redrive_one,
    ),
    _Action(
        name="delete",
        done="deleted",
        help="Delete finished tasks, with their inputs, outputs and errors. It cannot be undone.",
        states=tuple(sorted(FINAL_STATES)),
        many=statements.delete_many,
        one=lambda connection, id: execute(connection, statements.delete_task(id)),
    ),
)

_HELP = """

    Give the ids of tasks, or filters; with filters it shows what it will do and asks. It changes {chunk} tasks in a
    transaction, the newest first; Ctrl-C stops it between two of these."""


def _add(action: _Action) -> None:
    """Add the command of an action."""

    @commands.command(action.name, help=action.help + _HELP.format(chunk=CHUNK))
    @with_filter
    @on_databases
    def command(
        filter: TaskFilter,
        databases: Databases,
        ids: Annotated[
            list[int] | None, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="The ids of tasks.")
        ] = None,
        limit: Annotated[
            int | None,
            typer.Option("-n", "--limit", min=1, help="At most so many tasks, the newest.", show_default=False),
        ] = None,
        all_tasks: Annotated[
            bool,
            typer.Option("--all", allow_from_autoenv=False, help="All tasks that are in a state for it."),
        ] = False,
        yes: Annotated[
            bool, typer.Option("-y", "--yes", allow_from_autoenv=False, help="Do not ask. Scripts need it.")
        ] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Show which tasks, and change nothing.")] = False,
        as_json: Json = False,
    ) -> None:
        selection = Selection.of(ids, filter, limit, all_tasks)
        _applicable(action, filter)
        if not (selection.ids or yes or dry_run or sys.stdin.isatty()):
            raise WrongUsage(
                f"{action.name} with filters asks before it begins, and there is no terminal to ask on: add --yes, or"
                " --dry-run to see which tasks"
            )
        if databases.several and limit is not None:
            raise WrongUsage(f"--limit is for one database: give {action.name} one --dsn")
        if selection.ids and not dry_run:
            _by_id(databases, action, selection.ids, as_json)
        else:
            _by_filter(databases, action, selection, yes=yes, dry_run=dry_run, as_json=as_json)


def _plain(states: tuple[State, ...]) -> list[str]:
    return [state.replace("_", " ") for state in states]


def _applicable(action: _Action, filter: TaskFilter) -> TaskFilter:
    """The filter with the states that the action is for. Raises WrongUsage if it asks for none of these."""
    states = [state for state in filter.state or map(StateName, action.states) if state in action.states]
    if not states:
        raise WrongUsage(
            f"{action.name} is for tasks that are {' or '.join(_plain(action.states))}; --state asks for others"
        )
    return replace(filter, state=states, dead_letters=filter.dead_letters or action.name == "redrive")


def _by_id(databases: Databases, action: _Action, ids: list[int], as_json: bool) -> None:
    """Change each task. A refusal does not stop the others, but makes the exit code 1."""
    homes, refused = databases.by_home(ids)
    changed: set[int] = set()
    for _ in databases.dsns:  # a task may have been moved several times
        moved: dict[str, list[int]] = {}
        for home, members in homes.items():
            errors: dict[int, DatabaseRefusal] = {}
            try:
                with databases.connect(home) as connection:
                    _change_each(connection, action, members, changed, errors)
            except DatabaseUnavailable as error:
                if not databases.several:
                    raise
                refused |= {id: f"task {id} is not {action.done}: {error}" for id in members if id not in changed}
            for id, refusal in errors.items():
                refused[id] = str(refusal)
                if target := databases.moved_to(refusal):
                    moved.setdefault(target, []).append(id)
        homes = moved
    refused = {id: reason for id, reason in refused.items() if id not in changed}
    if as_json:
        listed = [{"id": id, "message": refused[id]} for id in ids if id in refused]
        echo_json({action.done: [id for id in ids if id in changed], "refused": listed})
    for id in ids if not as_json else ():
        if id in changed:
            echo(f"task {id}: {action.done}")
    for id in ids:
        if id in refused:
            print_error(refused[id])
    if refused:
        raise typer.Exit(1)


def _change_each(
    connection: Connection, action: _Action, ids: list[int], changed: set[int], errors: dict[int, DatabaseRefusal]
) -> None:
    """Change the tasks of a database; adds each id to those that are changed, or to the errors with its own."""
    for start in range(0, len(ids), CHUNK):
        with connection.transaction():
            done = execute(connection, action.many(ids[start : start + CHUNK]))
            if done:
                record(connection, action.name, {"tasks": done})
        changed.update(done)
    for id in ids:
        if id not in changed:  # by itself, it says why
            try:
                with connection.transaction():
                    action.one(connection, id)
                    record(connection, action.name, {"tasks": [id]})
            except DatabaseRefusal as error:
                errors[id] = error
            else:
                changed.add(id)


@dataclass(frozen=True)
class _Preview:
    """The tasks that a filter selects in a database: how many, with the first of them."""

    conditions: dict[str, Any]
    count: int
    capped: bool
    newest: int | None
    first: list[TaskSummary]
    now: datetime


def _by_filter(
    databases: Databases, action: _Action, selection: Selection, *, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Show how many tasks are selected, ask, and change them."""

    def look(connection: Connection) -> _Preview:
        now = database_time(connection)
        conditions = selection.conditions(now) | _applicable(action, selection.filter).conditions(now)
        total = execute(connection, statements.count_tasks(conditions))
        first = next(filter(None, matching(connection, conditions, limit=min(_SHOWN, selection.limit or _SHOWN))), [])
        newest = first[0] if first else None
        return _Preview(conditions, total.count, total.capped, newest, summaries(connection, first), now)

    previews = databases.read(look)
    count, capped = sum(each.count for each in previews.values()), any(each.capped for each in previews.values())
    if selection.limit is not None and selection.limit <= count:
        count, capped = selection.limit, False
    words = f"{'more than ' if capped else ''}{amount(count, 'task')}"
    first = [(shard, task) for shard, each in previews.items() for task in each.first]
    if not as_json:
        echo(f"{words} to be {action.done}: {selection}" if first else f"no task: {selection}", err=not dry_run)
        if first:
            show_tasks(databases, first, next(iter(previews.values())).now, err=not dry_run)
    if dry_run or not first:
        if as_json:
            matched = {"matched": count, "capped": capped, **asdict(Outcome()), "first": [task.id for _, task in first]}
            echo_json(databases.with_unreachable(matched))
        return
    if not yes and not typer.confirm(f"{action.name} {words}?", err=True):
        raise typer.Exit(1)
    outcome = Outcome()
    with progress_bar(action.name, None if capped else count) as advance:
        try:
            for shard, preview in previews.items():
                if preview.newest is not None and not outcome.interrupted:
                    with databases.connect(shard) as connection:
                        # Not the tasks that are enqueued from now on.
                        before, conditions = preview.newest + 1, preview.conditions
                        chunks = matching(connection, conditions, limit=selection.limit, before=before)
                        details = {"filter": conditions}
                        change_all(connection, action.name, action.many, chunks, details, outcome, advance)
        except (DatabaseRefusal, psycopg.Error):
            print_error(f"{amount(outcome.changed, 'task')} {action.done} before this error:")
            raise
    _report(databases, action, outcome, count, capped, as_json)


def _report(databases: Databases, action: _Action, outcome: Outcome, count: int, capped: bool, as_json: bool) -> None:
    if as_json:
        echo_json(databases.with_unreachable({"matched": count, "capped": capped, **asdict(outcome)}))
    else:
        echo(f"{amount(outcome.changed, 'task')} {action.done}")
    if outcome.unchanged:
        print_error(
            f"{amount(outcome.unchanged, 'task')} not {action.done}: meanwhile in another state, or refused; give the"
            " ids to learn why"
        )
    if outcome.interrupted:
        print_error(f"stopped by Ctrl-C: {amount(outcome.changed, 'task')} {action.done}, the rest is unchanged")
        raise typer.Exit(130)


for each in _ACTIONS:
    _add(each)
