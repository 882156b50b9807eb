"""The screen of `top`: sections of tables, as many rows of each as fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
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

# Characters of a sentence that are worth showing.
_SENTENCE = 24

# Lines of a section beside its rows: a blank one, its title with the columns.
_FRAME = 2


def screen(snapshot: Snapshot, *, width: int, height: int | None, problem: str | None = None) -> Group:
    """The snapshot as what rich prints, in at most so many lines, if a height is given; `problem` is shown above it."""
    head = [_head(snapshot, width)]
    if problem is not None:
        words = f"no answer from the database; trying again: {printable(problem)}"
        head.append(Text(words, style="bold red", no_wrap=True, overflow="ellipsis"))
    sections: list[tuple[list[str], list[list[object]]]] = [
        (["queue", "state", "ready", "running", "oldest", "started", "failed", "workers", "scheduled", "waiting",
          "dead"],
         [_queue(snapshot, queue) for queue in _busiest(snapshot)]),
        (["worker", "state", "running", "seen", "version", "queues"],
         [
             [
                 worker.name, worker_state(worker), f"{worker.in_progress} of {worker.concurrency or '?'}",
                 relative(worker.seen_at, snapshot.at), worker.version, ", ".join(worker.queues),
             ]
             for worker in snapshot.workers
         ]),
        (["running", "queue", "job", "started", "attempt"],
         [
             [task.id, task.queue, task.job, relative(task.started_at, snapshot.at), task.attempt]
             for task in sorted(snapshot.running, key=lambda task: task.started_at or snapshot.at)
         ]),
        (["failed", "queue", "job", "finished", "attempt", "error"],
         [
             [task.id, task.queue, task.job, relative(task.finished_at, snapshot.at), task.attempt, task.error]
             for task in snapshot.failures
         ]),
    ]  # fmt: skip
    shown = [(columns, rows) for columns, rows in sections if rows]
    room = _room([len(rows) for _, rows in shown], None if height is None else height - len(head))
    parts: list[Any] = [*head]
    for (columns, rows), count in zip(shown, room, strict=True):
        if count > 0:
            parts += [Text(""), *_section(columns, rows, count, width)]
    return Group(*parts)


def _room(wanted: list[int], height: int | None) -> list[int]:
    """How many lines of each section fit beside their frames: one by one in turn, until they are used up.

    Where not even one line of each fits, the last sections are left out.
    """
    if height is None:
        return wanted
    room = [0] * len(wanted)
    left = height
    while left > 0:
        before = left
        for number, count in enumerate(wanted):
            cost = 1 if room[number] else 1 + _FRAME
            if room[number] < count and cost <= left:
                room[number] += 1
                left -= cost
        if left == before:
            break
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
        queue.queue, "paused" if queue.paused_at else "active", at_least(queue, queue.ready), running,
        relative(queue.oldest_ready_at, snapshot.at), rate(done.started if done else 0, snapshot.seconds),
        rate(done.failed if done else 0, snapshot.seconds), queue.workers, at_least(queue, queue.scheduled),
        at_least(queue, queue.waiting), at_least(queue, queue.dead_letters),
    ]  # fmt: skip


def _section(columns: list[str], rows: list[list[object]], count: int, width: int) -> list[Any]:
    """A table of the first rows, so many lines with the one that says how many others there are."""
    shown = count if count in (1, len(rows)) else count - 1
    cells = [["" if cell is None else " ".join(printable(str(cell)).split()) for cell in row] for row in rows[:shown]]
    kept = _fitting(columns, cells, width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold dim")
    for number in kept:
        table.add_column(columns[number], no_wrap=True, overflow="ellipsis")
    for row in cells:
        texts = [Text(row[number], style=_STYLES.get(row[number], "") if number == 1 else "") for number in kept]
        for text, number in zip(texts, kept, strict=True):
            text.truncate(kept[number], overflow="ellipsis")
        table.add_row(*texts)
    more = Text(f"and {len(rows) - shown} more", style="dim", no_wrap=True, overflow="ellipsis")
    return [table, more] if shown < count else [table]


def _fitting(columns: list[str], cells: list[list[str]], width: int) -> dict[int, int]:
    """The columns that fit beside each other, the first ones, with their widths; a last one with sentences is cut."""
    gap = 2
    widths = {
        number: max(map(cell_len, [name, *(row[number] for row in cells)])) for number, name in enumerate(columns)
    }
    sentences = columns[-1] in ("error", "queues")
    last = len(columns) - 1
    if sentences:
        widths[last] = min(widths[last], _SENTENCE)
    while len(widths) > 1 + sentences and sum(widths.values()) + gap * (len(widths) - 1) > width:
        del widths[list(widths)[-2 if sentences else -1]]
    if last in widths:
        widths[last] = max(1, width - sum(widths[number] + gap for number in widths if number != last))
    return widths
