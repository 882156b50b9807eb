"""What a worker calls for itself: register, sleep, maintain; and the list of workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..models import WorkerStats
from ._base import Statement, nothing, scalar
from ._literals import names_array
from ._rows import columns_of, read_as

__all__ = [
    "Looked",
    "end_sessions",
    "look",
    "maintain",
    "pass_on",
    "register_worker",
    "set_idle",
    "set_skipped_jobs",
    "stay_idle",
    "stop_workers",
    "unregister_worker",
    "workers",
]


def register_worker(name: str, queues: Sequence[str], concurrency: int, version: str | None = None) -> Statement[int]:
    """Make a worker known; gives its id."""
    return Statement(
        "select underway.register_worker(%(name)s, %(queues)s::text[], %(concurrency)s::integer, %(version)s)",
        {"name": name, "queues": list(queues), "concurrency": concurrency, "version": version},
        scalar,
    )


def unregister_worker(worker: int) -> Statement[None]:
    """A worker has stopped."""
    return Statement("select underway.unregister_worker(%(worker)s)", {"worker": worker}, nothing)


def set_idle(worker: int, idle: bool) -> Statement[None]:
    """Say whether a worker sleeps and wants to be notified."""
    return Statement("select underway.set_idle(%(worker)s, %(idle)s)", {"worker": worker, "idle": idle}, nothing)


def pass_on(worker: int, queues: Sequence[str], *, stays_idle: bool) -> Statement[None]:
    """Let other idle workers have tasks that a worker was notified of."""
    return Statement(
        "select underway.pass_on(%(worker)s, %(queues)s::text[], %(stays_idle)s)",
        {"worker": worker, "queues": list(queues), "stays_idle": stays_idle},
        nothing,
    )


def set_skipped_jobs(worker: int, jobs: list[str]) -> Statement[None]:
    """Record which jobs a worker does not know, for `why`."""
    return Statement(
        "select underway.set_skipped_jobs(%(worker)s, %(jobs)s::text[])", {"worker": worker, "jobs": jobs}, nothing
    )


class Looked(NamedTuple):
    """What a worker has found.

    pause       seconds until a task of the queues may be ready, at most one
    state       of the worker: "known", "stopping" or "unknown"
    to_vacuum   names of tables; None if another session does the chores
    """

    pause: float
    state: str
    to_vacuum: list[str] | None


def maintain(worker: int, queues: Sequence[str], *, at_once: bool = False) -> Statement[Looked]:
    """Do all chores, unless a session did them less than a second ago; then look what is due next."""
    return _look(f"underway.maintain(%(worker)s, {at_once}) as done", "done -> 'to_vacuum'", worker, queues)


def look(worker: int, queues: Sequence[str]) -> Statement[Looked]:
    """Run the schedules that are due, then look what is due next."""
    return _look("underway.run_schedules()", "null", worker, queues)


def stay_idle(worker: int) -> Statement[Looked]:
    """Show that an idle worker is alive, without a look."""
    return Statement(
        "select 1.0::float8, underway.worker_state(%(worker)s), null from underway.set_idle(%(worker)s, true)",
        {"worker": worker},
        lambda rows: Looked(*rows[0]),
    )


def _look(chores: str, to_vacuum: str, worker: int, queues: Sequence[str]) -> Statement[Looked]:
    return Statement(
        f"""select extract(epoch from underway.next_wakeup(%(queues)s::text::text[]))::float8,
            underway.worker_state(%(worker)s), {to_vacuum}
        from {chores}""",
        {"worker": worker, "queues": names_array(tuple(queues))},
        lambda rows: Looked(*rows[0]),
    )


def end_sessions(sessions: Sequence[tuple[int, int]]) -> Statement[int]:
    """End sessions of this role that are still there; gives how many."""
    return Statement(
        """select pg_terminate_backend(a.pid)
        from unnest(%(pids)s::integer[], %(started_at)s::bigint[]) as lost(pid, started_at)
        join pg_stat_activity a on a.pid = lost.pid
        where (extract(epoch from a.backend_start) * 1000000)::bigint = lost.started_at""",
        {"pids": [pid for pid, _ in sessions], "started_at": [started_at for _, started_at in sessions]},
        len,
    )


def stop_workers(worker: int | None, queue: str | None, all_workers: bool) -> Statement[int]:
    """Ask workers to stop; gives how many were asked."""
    return Statement(
        "select underway.stop_workers(%(worker)s::bigint, %(queue)s, %(all_workers)s)",
        {"worker": worker, "queue": queue, "all_workers": all_workers},
        scalar,
    )


def workers() -> Statement[list[WorkerStats]]:
    """Every worker that is known."""
    return Statement(
        f"select {columns_of(WorkerStats)} from underway.worker_stats order by id", {}, read_as(WorkerStats)
    )
