"""Single tasks: what is known of them, changes, and searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..models import FINAL_STATES, BlockedReason, RelatedTask, State, TaskCount, TaskInfo, TaskSummary
from ..settings import exact_time
from ._base import Statement, dump_json, first_column, nothing, scalar
from ._literals import id_array
from ._rows import columns_of, read_as

__all__ = [
    "cancel",
    "cancel_many",
    "count_tasks",
    "delete_many",
    "delete_task",
    "every_task",
    "find_tasks",
    "redrive",
    "redrive_many",
    "reprioritize",
    "reschedule",
    "retry",
    "retry_many",
    "run_again",
    "task_dependencies",
    "task_info",
    "task_infos",
    "task_summaries",
    "tasks",
    "watch",
    "why",
]


def cancel(task: int) -> Statement[bool]:
    """Cancel a live task; gives whether something changed."""
    return Statement("select underway.cancel(%(task)s::bigint)", {"task": task}, scalar)


def retry(task: int) -> Statement[None]:
    """Make a failed or cancelled task pending again."""
    return Statement("select underway.retry(%(task)s::bigint)", {"task": task}, nothing)


def redrive(queue: str, max_tasks: int) -> Statement[int]:
    """Move dead letters back to where they came from; gives how many went."""
    return Statement(
        "select underway.redrive(%(queue)s, %(max_tasks)s::integer)", {"queue": queue, "max_tasks": max_tasks}, scalar
    )


def reschedule(task: int, run_at: datetime) -> Statement[datetime]:
    """Make a pending task ready at another time; gives when it will be."""
    return Statement(
        "select underway.reschedule(%(task)s::bigint, %(run_at)s)", {"task": task, "run_at": run_at}, scalar
    )


def reprioritize(task: int, priority: int) -> Statement[None]:
    """Give a pending task another priority."""
    return Statement(
        "select underway.reprioritize(%(task)s::bigint, %(priority)s::integer)",
        {"task": task, "priority": priority},
        nothing,
    )


def delete_task(task: int) -> Statement[None]:
    """Remove a finished task from the history."""
    return Statement("select underway.delete_task(%(task)s::bigint)", {"task": task}, nothing)


def run_again(task: int, input: str | None = None) -> Statement[int]:
    """Enqueue a copy of a task, with another input (JSON text) if one is given; gives its id."""
    return Statement(
        "select underway.run_again(%(task)s::bigint, %(input)s::jsonb)", {"task": task, "input": input}, scalar
    )


def _many(call: str, tasks: Sequence[int]) -> Statement[list[int]]:
    return Statement(
        f"select * from underway.{call}(%(tasks)s::text::bigint[])", {"tasks": id_array(tasks)}, first_column
    )


def cancel_many(tasks: Sequence[int]) -> Statement[list[int]]:
    """Cancel at most 1000 tasks; gives the ids of the cancelled ones."""
    return _many("cancel_many", tasks)


def retry_many(tasks: Sequence[int]) -> Statement[list[int]]:
    """Make the failed and cancelled ones of at most 1000 tasks pending again; gives their ids."""
    return _many("retry_many", tasks)


def delete_many(tasks: Sequence[int]) -> Statement[list[int]]:
    """Remove the finished ones of at most 1000 tasks from the history; gives their ids."""
    return _many("delete_many", tasks)


def redrive_many(tasks: Sequence[int]) -> Statement[list[int]]:
    """Move the dead letters among at most 1000 tasks back to where they came from; gives the ids of the letters."""
    return _many("redrive_many", tasks)


def watch(tasks: list[int]) -> Statement[list[int]]:
    """Ask that the finish of tasks be announced; gives those that are final already."""
    return Statement(
        """select asked.task, underway.watch(asked.task)::text
        from unnest(%(tasks)s::bigint[]) as asked (task)""",
        {"tasks": tasks},
        lambda rows: [task for task, state in rows if state in FINAL_STATES],
    )


def task_info(task: int) -> Statement[TaskInfo | None]:
    """All that is known of a task, or None."""
    several = task_infos([task])
    return Statement(several.sql, several.parameters, lambda rows: next(iter(several.read(rows)), None))


def task_infos(tasks: list[int]) -> Statement[list[TaskInfo]]:
    """All that is known of these tasks. Tasks that do not exist are left out."""
    return _task_infos("unnest(%(tasks)s::bigint[]) as asked (task)", {"tasks": tasks})


def every_task() -> Statement[list[TaskInfo]]:
    """All that is known of all tasks, live and finished: for tests, where they are few."""
    return _task_infos("(select l.id as task from underway.task_list l order by l.id) asked", {})


def _task_infos(asked: str, parameters: Mapping[str, Any]) -> Statement[list[TaskInfo]]:
    return Statement(
        f"select {columns_of(TaskInfo)} from {asked}, underway.task_info(asked.task)",
        parameters,
        read_as(TaskInfo),
    )


def why(task: int) -> Statement[list[BlockedReason]]:
    """Why a task does not run: each reason."""
    return Statement(
        f"select {columns_of(BlockedReason)} from underway.why(%(task)s::bigint)",
        {"task": task},
        read_as(BlockedReason),
    )


def task_dependencies(task: int) -> Statement[list[RelatedTask]]:
    """The tasks that are related to a task."""
    return Statement(
        f"select {columns_of(RelatedTask)} from underway.task_dependencies(%(task)s::bigint)",
        {"task": task},
        read_as(RelatedTask),
    )


def tasks(queue: str | None, state: State | None, limit: int) -> Statement[list[TaskSummary]]:
    """The newest tasks, live or finished, of a queue and in a state where these are given."""
    where = [
        condition
        for condition, given in (("queue = %(queue)s", queue), ("state = %(state)s::underway.task_state", state))
        if given is not None
    ]
    return Statement(
        f"select {columns_of(TaskSummary)} from underway.task_list"
        + (" where " + " and ".join(where) if where else "")
        + " order by id desc limit %(limit)s",
        {"queue": queue, "state": state, "limit": limit},
        read_as(TaskSummary),
    )


def _filter(given: Mapping[str, Any]) -> str:
    """The filter of a search as JSON. Times may be given as datetimes with a time zone."""
    return dump_json(
        {
            key: exact_time(key, value).isoformat() if isinstance(value, datetime) else value  # type: ignore[union-attr]
            for key, value in given.items()
        }
    )


def find_tasks(
    filter: Mapping[str, Any], before: int | None = None, max_tasks: int = 50, max_read: int = 20_000
) -> Statement[tuple[list[int], int | None]]:
    """The ids of the newest tasks that match, and where the search goes on; None at the end."""
    return Statement(
        """select tasks, next_before from underway.find_tasks(
            %(filter)s::jsonb, %(before)s::bigint, %(max_tasks)s::integer, %(max_read)s::integer)""",
        {"filter": _filter(filter), "before": before, "max_tasks": max_tasks, "max_read": max_read},
        lambda rows: (rows[0][0], rows[0][1]),
    )


def task_summaries(tasks: Sequence[int]) -> Statement[list[TaskSummary]]:
    """These tasks, live or finished, as far as they exist, the newest first."""
    return Statement(
        f"""select {columns_of(TaskSummary)} from underway.task_list
        where id = any(%(tasks)s::bigint[]) order by id desc""",
        {"tasks": list(tasks)},
        read_as(TaskSummary),
    )


def count_tasks(filter: Mapping[str, Any], max_count: int = 10_000) -> Statement[TaskCount]:
    """How many tasks match, counted up to a number."""
    return Statement(
        "select count, capped from underway.count_tasks(%(filter)s::jsonb, %(max_count)s::integer)",
        {"filter": _filter(filter), "max_count": max_count},
        lambda rows: TaskCount(count=rows[0][0], capped=rows[0][1]),
    )
