"""Which events a reader has returned, and where it reads on. No I/O here.

Problem: the ids of events ascend in the order in which they are written, but transactions commit in another order. A
reader that goes on after the highest id that it has seen misses the event of a transaction that committed later.

Idea: read on from the highest id, because that is fast, and every few seconds read the last minute again. What was
returned already is left out by its id.

Invariant: every event with an id of at most `_low` was returned, unless its transaction committed more than a minute
after it had written the event. `_seen` has all ids above `_low` that were returned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from ...checks import check_number
from ...errors import ConfigurationError
from ...models import Event

__all__ = ["EVENT_KINDS", "PAGE", "REREAD_EVERY", "Window", "check_kinds"]

EVENT_KINDS = (
    "task_failed",
    "attempt_failed",
    "queue_blocked",
    "queue_unblocked",
    "schedule_missed",
    "schedule_failed",
    "worker_lost",
)

# Events that are read at once: a slow reader holds no more of them in memory.
PAGE = 1000

# Seconds.
REREAD_EVERY = 5.0
_WINDOW = 60.0

# Where a reader begins: an event below these ids was committed long ago.
_BACK = 1000


def check_kinds(kinds: Iterable[str] | None, after: int | None) -> list[str] | None:
    """The kinds as a list; None for all. Raises ConfigurationError for one that does not exist."""
    if after is not None:
        check_number("after", after, int, 0)
    if kinds is None:
        return None
    if isinstance(kinds, str):
        raise ConfigurationError(f"kinds is {kinds!r}; give a list, as in [{kinds!r}]")
    kinds = list(kinds)
    for kind in kinds:
        if kind not in EVENT_KINDS:
            raise ConfigurationError(f"there is no kind of events {kind!r}; the kinds are {', '.join(EVENT_KINDS)}")
    return kinds


class Window:
    """The events after the id `start`, or without it those that are written after the one with the id `last`.

    place     the id after which the next page is to be read
    has_more  whether a page is to be read now
    """

    def __init__(self, start: int | None, last: int) -> None:
        self._low = max(0, last - _BACK) if start is None else start
        self._top = self.place = self._low
        self._skip_until = last if start is None else 0
        self._last: int | None = None
        self._seen: set[int] = set()
        self._marks: deque[tuple[float, int]] = deque()  # the highest id at a time
        self.has_more = False
        self.reread_at = 0.0

    def begin(self, last: int | None) -> None:
        """Read on from the highest id; or the last minute, if `last`, the highest id of the database now, is given."""
        self._last = last
        self.place = self._top if last is None else self._low
        self.has_more = True

    def take(self, page: Sequence[Event]) -> list[Event]:
        """The events of a page that were not returned yet. They count as returned from here on."""
        fresh = [event for event in page if event.id not in self._seen]
        self._seen.update(event.id for event in fresh)
        self.has_more = len(page) == PAGE
        if page:
            self.place = page[-1].id
            self._top = max(self._top, self.place)
        return [event for event in fresh if event.id > self._skip_until]

    def end(self, now: float) -> None:
        """All pages were read."""
        if self._last is None:
            return
        self._skip_until = 0
        self._top = max(self._top, self._last)
        self.reread_at = now + REREAD_EVERY
        self._marks.append((now, self._last))
        while now - self._marks[0][0] >= _WINDOW:
            self._low = max(self._low, self._marks.popleft()[1])
        self._seen = {id for id in self._seen if id > self._low}
