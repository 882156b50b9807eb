"""Commands that act on tasks, named by their ids or selected by filters: cancel, retry, redrive and delete them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import psycopg
import typer

from .. import statements
from ..client import execute
from ..errors import DatabaseRefusal, WrongState
from ..models import FINAL_STATES, State
from ..statements import Statement
from .bulk import CHUNK, Outcome, change_all, matching, progress_bar
from .database import connect, database_time, record
from .errors import WrongUsage
from .filters import Selection, StateName, TaskFilter, with_filter
from .options import Dsn, Json
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
    return no_task(id) if found is None else WrongState(f"task {id} is {found.state}", hint)


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
    def command(
        filter: TaskFilter,
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
        dsn: Dsn = None,
        as_json: Json = False,
    ) -> None:
        selection = Selection.of(ids, filter, limit, all_tasks)
        _applicable(action, filter)
        if not (selection.ids or yes or dry_run or sys.stdin.isatty()):
            raise WrongUsage(
                f"{action.name} with filters asks before it begins, and there is no terminal to ask on: add --yes, or"
                " --dry-run to see which tasks"
            )
        with connect(dsn) as connection:
            if selection.ids and not dry_run:
                _by_id(connection, action, selection.ids, as_json)
            else:
                _by_filter(connection, action, selection, yes=yes, dry_run=dry_run, as_json=as_json)


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


def _by_id(connection: Connection, action: _Action, ids: list[int], as_json: bool) -> None:
    """Change each task. A refusal does not stop the others, but makes the exit code 1."""
    changed: set[int] = set()
    for start in range(0, len(ids), CHUNK):
        with connection.transaction():
            done = execute(connection, action.many(ids[start : start + CHUNK]))
            if done:
                record(connection, action.name, {"tasks": done})
        changed.update(done)
    refused = []
    for id in ids:
        if id not in changed:  # by itself, it says why
            try:
                with connection.transaction():
                    action.one(connection, id)
                    record(connection, action.name, {"tasks": [id]})
            except DatabaseRefusal as error:
                refused.append({"id": id, "message": str(error)})
            else:
                changed.add(id)
    if as_json:
        echo_json({action.done: [id for id in ids if id in changed], "refused": refused})
    for id in ids if not as_json else ():
        if id in changed:
            echo(f"task {id}: {action.done}")
    for refusal in refused:
        print_error(str(refusal["message"]))
    if refused:
        raise typer.Exit(1)


def _by_filter(
    connection: Connection, action: _Action, selection: Selection, *, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Show how many tasks are selected, ask, and change them."""
    now = database_time(connection)
    conditions = selection.conditions(now) | _applicable(action, selection.filter).conditions(now)
    total = execute(connection, statements.count_tasks(conditions))
    count, capped = total.count, total.capped
    if selection.limit is not None and selection.limit <= count:
        count, capped = selection.limit, False
    words = f"{'more than ' if capped else ''}{amount(count, 'task')}"
    first = next(filter(None, matching(connection, conditions, limit=min(_SHOWN, selection.limit or _SHOWN))), [])
    if not as_json:
        echo(f"{words} to be {action.done}: {selection}" if first else f"no task: {selection}", err=not dry_run)
        if first:
            show_tasks(summaries(connection, first), now, err=not dry_run)
    if dry_run or not first:
        if as_json:
            echo_json({"matched": count, "capped": capped, **asdict(Outcome()), "first": first})
        return
    if not yes and not typer.confirm(f"{action.name} {words}?", err=True):
        raise typer.Exit(1)
    # Not the tasks that are enqueued from now on.
    chunks = matching(connection, conditions, limit=selection.limit, before=first[0] + 1)
    with progress_bar(action.name, None if capped else count) as advance:
        outcome, details = Outcome(), {"filter": conditions}
        try:
            change_all(connection, action.name, action.many, chunks, details, outcome, advance)
        except (DatabaseRefusal, psycopg.Error):
            print_error(f"{amount(outcome.changed, 'task')} {action.done} before this error:")
            raise
    _report(action, outcome, count, capped, as_json)


def _report(action: _Action, outcome: Outcome, count: int, capped: bool, as_json: bool) -> None:
    if as_json:
        echo_json({"matched": count, "capped": capped, **asdict(outcome)})
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
