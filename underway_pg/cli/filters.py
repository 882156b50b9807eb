"""The options that select tasks: those of `underway tasks`, and of each command that acts on tasks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from .errors import WrongUsage
from .names import job_names, queue_names
from .options import past_option

__all__ = ["Selection", "StateName", "TaskFilter", "with_filter"]


class StateName(StrEnum):
    """The states, as typer takes several of them."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class TaskFilter:
    """Which tasks are selected: all that meet every condition. None, an empty list and false set no condition.

    A time is absolute, or a duration before now. An option of the command line is each field's name.
    """

    state: Annotated[
        list[StateName] | None,
        typer.Option(help="Only tasks in this state; may be repeated.", show_default=False, allow_from_autoenv=False),
    ] = None
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only tasks of this queue; may be repeated.", autocompletion=queue_names,
            show_default=False,
 allow_from_autoenv=False,
        ),
    ] = None  # fmt: skip
    job: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only tasks of this job; may be repeated.", autocompletion=job_names,
            show_default=False,
 allow_from_autoenv=False,
        ),
    ] = None  # fmt: skip
    key: Annotated[
        str | None,
        typer.Option(
            help="Only tasks with this unique key or concurrency key.", show_default=False, allow_from_autoenv=False
        ),
    ] = None
    enqueued_after: Annotated[Any, past_option("Only tasks enqueued since then: at a time, or so long ago.")] = None
    enqueued_before: Annotated[Any, past_option("Only tasks enqueued before then.")] = None
    finished_after: Annotated[Any, past_option("Only tasks finished since then.")] = None
    finished_before: Annotated[Any, past_option("Only tasks finished before then.")] = None
    error: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Only tasks with this text in an error, in upper or lower case.",
            show_default=False,
            allow_from_autoenv=False,
        ),
    ] = None
    input: Annotated[
        str | None,
        typer.Option(
            metavar="JSONPATH",
            help="Only tasks whose input has an item at this SQL/JSON path: '$.customer ? (@ == 7)'.",
            show_default=False,
            allow_from_autoenv=False,
        ),
    ] = None
    worker: Annotated[
        int | None,
        typer.Option(
            metavar="ID", min=1, help="Only tasks of this worker.", show_default=False, allow_from_autoenv=False
        ),
    ] = None
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", allow_from_autoenv=False, help="Only dead letters.")
    ] = False

    def given(self) -> dict[str, Any]:
        """The conditions that are set, by the names of the fields."""
        return {name: value for name, value in vars(self).items() if value not in (None, [], (), False)}

    def conditions(self, now: datetime) -> dict[str, Any]:
        """The filter as the database takes it, with the times that a duration before `now` stands for."""
        found = {name: _condition(value, now) for name, value in self.given().items()}
        if found.pop("dead_letters", False):
            found["dead_letter"] = True
        return found

    def __str__(self) -> str:
        """The options that make this filter."""
        words = []
        for name, value in self.given().items():
            option = f"--{name.replace('_', '-')}"
            values = value if isinstance(value, (list, tuple)) else [value]
            words += [option if each is True else f"{option} {_text(each)}" for each in values]
        return " ".join(words)


def _condition(value: Any, now: datetime) -> Any:
    if isinstance(value, timedelta):
        value = now - value
    return value.isoformat() if isinstance(value, datetime) else value


def _text(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    return value.isoformat() if isinstance(value, datetime) else str(value)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The tasks that a command acts on: those with these ids, or those that a filter selects, at most `limit`."""

    ids: list[int]
    filter: TaskFilter
    limit: int | None = None

    @classmethod
    def of(cls, ids: list[int] | None, filter: TaskFilter, limit: int | None, all_tasks: bool) -> Selection:
        """Check the arguments of a command. Raises WrongUsage unless it has ids, or else a filter or --all."""
        filtered = bool(filter.given()) or limit is not None or all_tasks
        if ids and filtered:
            option = str(filter) or ("--all" if all_tasks else "--limit")
            raise WrongUsage(f"give ids or filters, not both: {_shortened(ids)} and {option}")
        if all_tasks and filter.given():
            raise WrongUsage(f"--all means all tasks; it does not go together with {filter}")
        if not ids and not filter.given() and not all_tasks:
            raise WrongUsage("which tasks? Give their ids, or a filter such as --queue; --all stands for all tasks")
        return cls(ids=list(dict.fromkeys(ids or [])), filter=filter, limit=limit)

    def conditions(self, now: datetime) -> dict[str, Any]:
        """The selection as the database takes it."""
        return {**self.filter.conditions(now), **({"ids": self.ids} if self.ids else {})}

    def __str__(self) -> str:
        """The arguments that make this selection."""
        words = _shortened(self.ids) if self.ids else str(self.filter) or "--all"
        return words if self.limit is None else f"{words} --limit {self.limit}"


def _shortened(ids: list[int]) -> str:
    return " ".join(map(str, ids[:3])) + (" ..." if len(ids) > 3 else "")


def with_filter(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a TaskFilter in place of its parameter `filter`."""
    signature = inspect.signature(command, eval_str=True)
    options = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(TaskFilter, eval_str=True).parameters.values()
    ]
    before: list[inspect.Parameter] = []
    after: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        (before if parameter.name == "ids" else after).append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    kept = [*before, *options, *(parameter for parameter in after if parameter.name != "filter")]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        filter = TaskFilter(**{option.name: arguments.pop(option.name) for option in options})
        command(filter=filter, **arguments)

    run.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in kept}
    return run
