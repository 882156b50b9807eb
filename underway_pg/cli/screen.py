"""The screen of `top`: sections of tables, as many rows of each as fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..models import QueueStats
from .output import printable, relative
from .queues import at_least
from .rates import rate
from .snapshot import Snapshot
from .workers import worker_state

__all__ = ["screen"]

_STYLES = {"paused": "yellow", "lost": "red", "stopping": "yellow", "busy": "cyan"}

# Lines of a section beside its rows: a blank one, its title with the columns.
_FRAME = 2


def screen(snapshot: Snapshot, *, width: int, height: int | None, problem: str | None = None) -> Group:
    """The snapshot as what rich prints, in at most so many lines, if a height is given; `problem` is shown above it."""
    head = [_head(snapshot, width)]
    if problem is not None:
        words = f"no answer from the database; trying again: {printable(problem)}"
        head.append(Text(words, style="bold red", no_wrap=True, overflow="ellipsis"))
    sections: list[tuple[list[str], list[list[object]]]] = [
        (["queue", "state", "ready", "oldest", "running", "scheduled", "waiting", "dead", "started", "failed",
          "workers"],
         [_queue(snapshot, queue) for queue in _busiest(snapshot)]),
        (["worker", "state", "running", "seen", "version", "queues"],
         [
             [
                 worker.name, worker_state(worker), f"{worker.in_progress} of {worker.concurrency or '?'}",
                 relative(worker.seen_at, snapshot.at), worker.version, ", ".join(worker.queues),
             ]
             for worker in snapshot.workers
         ]),
        (["running", "queue", "job", "attempt", "started"],
         [
             [task.id, task.queue, task.job, task.attempt, relative(task.started_at, snapshot.at)]
             for task in sorted(snapshot.running, key=lambda task: task.started_at or snapshot.at)
         ]),
        (["failed", "queue", "job", "attempt", "finished", "error"],
         [
             [task.id, task.queue, task.job, task.attempt, relative(task.finished_at, snapshot.at), task.error]
             for task in snapshot.failures
         ]),
    ]  # fmt: skip
    shown = [(columns, rows) for columns, rows in sections if rows]
    room = _room([len(rows) for _, rows in shown], None if height is None else height - len(head))
    parts: list[Any] = [*head]
    for (columns, rows), count in zip(shown, room, strict=True):
        if count > 0:
            parts += [Text(""), _table(columns, rows[:count], len(rows) - count)]
    return Group(*parts)


def _room(wanted: list[int], height: int | None) -> list[int]:
    """How many rows of each section fit: all have the same share, and what one does not need is for the next ones."""
    if height is None:
        return wanted
    room = []
    for number, count in enumerate(wanted):
        share = max(0, height // (len(wanted) - number) - _FRAME)
        room.append(min(count, share))
        height -= room[-1] + _FRAME if room[-1] else 0
    return room


def _head(snapshot: Snapshot, width: int) -> Text:
    totals = snapshot.totals
    started, failed = (sum(getattr(each, name) for each in snapshot.rates) for name in ("started", "failed"))
    words = [
        f"{snapshot.at:%H:%M:%S}", f"{totals['ready']:g} ready", f"{totals['in_progress']:g} running",
        f"{totals['scheduled']:g} scheduled", f"{rate(started, snapshot.seconds)} started",
        f"{rate(failed, snapshot.seconds)} failed", f"{totals['workers']:g} workers",
    ]  # fmt: skip
    text = Text("  ".join(words), style="bold", no_wrap=True, overflow="ellipsis")
    text.truncate(width, overflow="ellipsis")
    return text


def _busiest(snapshot: Snapshot) -> Sequence[QueueStats]:
    """The queues, those with tasks first."""
    return sorted(snapshot.queues, key=lambda queue: (-(queue.ready + queue.in_progress), queue.queue))


def _queue(snapshot: Snapshot, queue: QueueStats) -> list[object]:
    done = next((each for each in snapshot.rates if each.queue == queue.queue), None)
    running = str(queue.in_progress) if queue.max_running is None else f"{queue.in_progress} of {queue.max_running}"
    return [
        queue.queue, "paused" if queue.paused_at else "active", at_least(queue, queue.ready),
        relative(queue.oldest_ready_at, snapshot.at), running, at_least(queue, queue.scheduled),
        at_least(queue, queue.waiting), at_least(queue, queue.dead_letters),
        rate(done.started if done else 0, snapshot.seconds), rate(done.failed if done else 0, snapshot.seconds),
        queue.workers,
    ]  # fmt: skip


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], hidden: int) -> Table:
    """A table with one line for each row; its first column says how many rows there are besides."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold dim")
    title = f"{columns[0]} (and {hidden} more)" if hidden else columns[0]
    for number, column in enumerate([title, *columns[1:]]):
        table.add_column(column, no_wrap=True, overflow="ellipsis", min_width=6 if number == 0 else None)
    for row in rows:
        cells = ["" if cell is None else printable(str(cell)) for cell in row]
        table.add_row(
            *(
                Text(" ".join(cell.split()), style=_STYLES.get(cell, "") if column == "state" else "")
                for column, cell in zip(columns, cells, strict=True)
            )
        )
    return table
