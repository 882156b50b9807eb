"""Where a handler is, as the lines of a traceback from the handler's own first frame on."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

__all__ = ["handler_traceback", "thread_stack", "waiting_stack"]

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


def thread_stack(thread: int | None) -> str:
    """Where a thread is now; empty for one that has ended."""
    frame = sys._current_frames().get(thread or 0)
    frames = [frame for frame, _ in traceback.walk_stack(frame)] if frame is not None else []
    return _lines(frames[::-1])


def waiting_stack(coroutine: Any) -> str:
    """Where a coroutine waits now."""
    return _lines(list(_waiting_frames(coroutine)))


def handler_traceback(error: BaseException) -> TracebackType | None:
    """The traceback of an error, from the handler's own first line on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        trace = trace.tb_next
    return trace


def _waiting_frames(waiting: Any) -> Iterator[FrameType]:
    """The frames of a coroutine that waits, and of what it waits for; the outermost first."""
    while waiting is not None:
        frame = _first(waiting, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            yield frame
        waiting = _first(waiting, "cr_await", "gi_yieldfrom", "ag_await") or _awaited(waiting)


def _first(thing: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(thing, name, None)) is not None), None)


def _awaited(waiting: Any) -> Any:
    """What an object without frames waits for: the step of an async generator, or a future of gathered tasks."""
    import gc

    if type(waiting).__name__ in ("async_generator_asend", "async_generator_athrow"):
        return next((each for each in gc.get_referents(waiting) if hasattr(each, "ag_frame")), None)
    children = [each for each in getattr(waiting, "_children", ()) if not each.done()]
    task = children[0] if children else waiting
    return task.get_coro() if hasattr(task, "get_coro") else None


def _lines(frames: list[FrameType]) -> str:
    def is_ours(frame: FrameType) -> bool:
        return frame.f_code.co_filename.startswith(_PACKAGE)

    called = dropwhile(is_ours, dropwhile(lambda frame: not is_ours(frame), frames))
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in called)
    return "".join(summary.format())
