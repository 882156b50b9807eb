"""Checks of the work: do workers serve what is queued, and do schedules run."""

from __future__ import annotations

from collections.abc import Iterator

from ..version import VERSION
from ._check import Finding, Limits, problem, warning
from ._facts import Facts

__all__ = ["check_jobs", "check_moves", "check_queues", "check_schedules", "check_workers"]


def check_workers(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Workers are alive and have the version of this package."""
    for worker in facts.all_workers:
        if worker.lost:
            yield warning(
                f"worker {worker.name!r} has not been seen since {worker.seen_at:%Y-%m-%d %H:%M:%S %Z} and was not shut"
                f" down; it had {worker.in_progress} tasks, which other workers take back", worker.name,
                "look at its log and start it again",
            )  # fmt: skip
        elif worker.version is not None and worker.version != VERSION:
            yield warning(
                f"worker {worker.name!r} has version {worker.version}, and this package {VERSION}", worker.version,
                "deploy the same version everywhere",
            )  # fmt: skip


def check_queues(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Each queue with ready tasks has a worker that starts them."""
    served = {name for worker in facts.workers for name in worker.queues}
    for queue in facts.queues:
        waited = 0.0 if queue.oldest_ready_at is None else (facts.database_now - queue.oldest_ready_at).total_seconds()
        number = "1 task is" if queue.ready == 1 else f"{queue.ready:,}{'+' if queue.capped else ''} tasks are"
        ready = f"queue {queue.queue!r}: {number} ready"
        if queue.paused_at is not None:
            if queue.ready:
                yield warning(
                    f"{ready}, and it has been paused since {queue.paused_at:%Y-%m-%d %H:%M:%S %Z}", queue.ready,
                    f"underway queue resume {queue.queue}",
                )  # fmt: skip
        elif queue.ready and queue.queue not in served:
            yield problem(
                f"{ready}, and no worker serves it", queue.ready, f"underway worker MODULE:APP --queue {queue.queue}"
            )
        elif waited > limits.blocked:
            yield problem(
                f"{ready}, the oldest for {waited:,.0f} s, and its workers do not start it", waited,
                f"underway tasks --queue {queue.queue} --state pending, and underway why ID",
            )  # fmt: skip


def check_jobs(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Each job that has tasks is known to the workers of its queue."""
    for job in sorted({job for worker in facts.workers for job in worker.skipped_jobs}):
        skipping = [worker for worker in facts.workers if job in worker.skipped_jobs]
        queues = {name for worker in skipping for name in worker.queues}
        others = [worker for worker in facts.workers if worker not in skipping and queues.intersection(worker.queues)]
        names = ", ".join(repr(worker.name) for worker in skipping)
        if others:
            yield warning(
                f"job {job!r} has tasks that {names} put back; other workers of the queue may know it", job,
                "deploy the code that has it everywhere, or give its tasks a queue of their own",
            )  # fmt: skip
        else:
            yield problem(
                f"job {job!r} has tasks, and no worker knows it: {names} put them back", job,
                f"deploy the code that has it, or: underway cancel --job {job}",
            )  # fmt: skip


def check_schedules(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """No schedule fails, is late, or has no time left."""
    for schedule in facts.schedules:
        if schedule.paused_at is not None:
            continue
        name = f"schedule {schedule.schedule!r}"
        if schedule.last_error is not None:
            message = schedule.last_error.get("message")
            yield problem(
                f"{name} failed: {message}", message,
                schedule.last_error.get("hint") or f"underway schedule run {schedule.schedule}",
            )  # fmt: skip
        elif schedule.next_at is None:
            yield warning(
                f"{name} has no next time: {schedule.cron}", schedule.cron,
                f"underway schedule remove {schedule.schedule}, or add it again with another expression",
            )  # fmt: skip
        elif (late := (facts.database_now - schedule.next_at).total_seconds()) > limits.schedule_delay:
            yield problem(
                f"{name} was due {late:,.0f} s ago: no worker is alive, or it cannot run schedules", late,
                "start a worker: underway worker MODULE:APP",
            )  # fmt: skip


def check_moves(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """No move was interrupted while tasks were on their way."""
    for move in facts.unfinished_moves:
        if (facts.database_now - move["begun_at"]).total_seconds() > limits.move_delay:
            yield problem(
                f"a move was interrupted: {move['tasks']:,} tasks have been on their way to shard {move['shard']} since"
                f" {move['begun_at']:%Y-%m-%d %H:%M:%S %Z}, and no worker can get them", move["tasks"],
                "run the same underway move again",
            )  # fmt: skip
