"""Where a handler is, as the lines of a traceback from the handler's own first frame on."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from itertools import dropwhile
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

__all__ = ["handler_traceback", "thread_stack", "waiting_stack"]

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


def thread_stack(thread: int | None) -> str:
    """Where a thread is now; empty for one that has ended. Where it runs an event loop, what that waits for."""
    frame = sys._current_frames().get(thread or 0)
    frames = [frame for frame, _ in traceback.walk_stack(frame)][::-1] if frame is not None else []
    for count, frame in enumerate(frames, 1):
        if frame.f_code is asyncio.BaseEventLoop.run_until_complete.__code__:
            task = frame.f_locals["future"]
            if isinstance(task, asyncio.Task) and asyncio.current_task(task.get_loop()) is None:
                frames = [*frames[:count], *_waiting_frames(task.get_coro())]
                break
    return _lines(dropwhile(lambda frame: not _is_ours(frame), frames))  # the thread starts in the library


def waiting_stack(coroutine: Any) -> str:
    """Where a coroutine waits now."""
    return _lines(_waiting_frames(coroutine))


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
    """The coroutine behind an object that has no frame: the step of an async generator, a task, gathered tasks."""
    for each in (waiting, *gc.get_referents(waiting)):
        if hasattr(each, "ag_frame"):
            return each
        if isinstance(each, asyncio.Task):
            return each.get_coro()
        for child in getattr(each, "_children", ()):  # of asyncio.gather
            if not child.done():
                return child.get_coro()
    return None


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_PACKAGE)


def _lines(frames: Iterable[FrameType]) -> str:
    called = dropwhile(_is_ours, frames)
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in called)
    return "".join(summary.format())
