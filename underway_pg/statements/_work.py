"""What a worker calls for its tasks: claim, settle, renew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ..models import ClaimedTask, FailedTask
from ..wire import uuid_text
from ._base import Statement, dump_json, first_column, nothing, scalar
from ._literals import id_array, lease_array, names_array, output_array, text_array

__all__ = [
    "complete",
    "complete_many",
    "dequeue",
    "fail_many",
    "heartbeat",
    "max_output_size",
    "release_many",
    "report_progress_many",
    "snooze_many",
]

_CLAIMED = ", ".join(ClaimedTask._fields)


def dequeue(queues: Sequence[str], max_tasks: int, worker: int | None = None) -> Statement[list[ClaimedTask]]:
    """Claim ready tasks; gives them in the order in which they are to run."""
    return Statement(
        f"select {_CLAIMED} from underway.dequeue(%(queues)s::text::text[], %(max_tasks)s::integer, %(worker)s)",
        {"queues": names_array(tuple(queues)), "max_tasks": max_tasks, "worker": worker},
        lambda rows: list(map(ClaimedTask._make, rows)),
        as_bytes=True,
    )


def complete(task: int, lease: bytes, output: Any = None) -> Statement[None]:
    """Report a task as done. `output` is any value that JSON can carry."""
    return Statement(
        "select underway.complete(%(task)s::bigint, %(lease)s::uuid, %(output)s::jsonb)",
        {"task": task, "lease": uuid_text(lease), "output": None if output is None else dump_json(output)},
        nothing,
    )


def complete_many(tasks: list[int], leases: list[bytes], outputs: list[str | None]) -> Statement[list[int]]:
    """Report a batch of tasks as done; gives the ids that were settled. `outputs` are JSON texts."""
    return Statement(
        """select * from underway.complete_many(%(tasks)s::text::bigint[], %(leases)s::text::uuid[],
            %(outputs)s::text::jsonb[])""",
        {"tasks": id_array(tasks), "leases": lease_array(leases), "outputs": output_array(outputs)},
        first_column,
    )


def fail_many(
    tasks: list[int],
    leases: list[bytes],
    errors: list[str],
    retryable: list[bool],
    retry_after: list[timedelta | None],
) -> Statement[list[FailedTask]]:
    """Report failed attempts. `errors` are JSON texts. Returns the tasks that were settled."""
    return Statement(
        """select id, state::text, ready_at from underway.fail_many(
            %(tasks)s::text::bigint[], %(leases)s::text::uuid[], %(errors)s::jsonb[], %(retryable)s::boolean[],
            %(retry_after)s::interval[])""",
        {
            "tasks": id_array(tasks),
            "leases": lease_array(leases),
            "errors": errors,
            "retryable": retryable,
            "retry_after": retry_after,
        },
        lambda rows: list(map(FailedTask._make, rows)),
    )


def snooze_many(tasks: list[int], leases: list[bytes], delays: list[timedelta]) -> Statement[list[int]]:
    """Put tasks back for later. Returns the ids of the tasks whose leases were valid."""
    return Statement(
        """select id from underway.snooze_many(
            %(tasks)s::text::bigint[], %(leases)s::text::uuid[], %(delays)s::interval[])""",
        {"tasks": id_array(tasks), "leases": lease_array(leases), "delays": delays},
        first_column,
    )


def release_many(tasks: list[int], leases: list[bytes]) -> Statement[list[int]]:
    """Give tasks back without using up an attempt; gives the ids that were given back."""
    return Statement(
        "select * from underway.release_many(%(tasks)s::text::bigint[], %(leases)s::text::uuid[])",
        {"tasks": id_array(tasks), "leases": lease_array(leases)},
        first_column,
    )


def heartbeat(tasks: list[int], leases: list[bytes]) -> Statement[list[int]]:
    """Renew leases; gives the ids that are still held."""
    return Statement(
        "select * from underway.heartbeat(%(tasks)s::text::bigint[], %(leases)s::text::uuid[])",
        {"tasks": id_array(tasks), "leases": lease_array(leases)},
        first_column,
    )


def report_progress_many(tasks: list[int], leases: list[bytes], progress: list[str]) -> Statement[list[int]]:
    """Store the progress of running tasks, as JSON texts. Returns the ids of the tasks whose progress was stored."""
    return Statement(
        """select * from underway.report_progress_many(
            %(tasks)s::text::bigint[], %(leases)s::text::uuid[], %(progress)s::text::jsonb[])""",
        {"tasks": id_array(tasks), "leases": lease_array(leases), "progress": text_array(progress)},
        first_column,
    )


def max_output_size() -> Statement[int]:
    """How many bytes of text an output may have."""
    return Statement("select max_output_size from underway.settings", {}, scalar)
