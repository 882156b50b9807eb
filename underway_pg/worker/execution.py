"""One attempt at a task: how its handler is called, stopped and looked at, and how its end is put into words."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import dropwhile
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Protocol

from .. import statements
from ..context import Context
from ..errors import Fatal, HandlerSignal, InputError, OutputTooLarge, Retry
from ..job import Job
from ..wire import json_text

__all__ = [
    "InThread",
    "OnLoop",
    "RemoteError",
    "Report",
    "Running",
    "call",
    "frames",
    "output_error",
    "run",
    "thread_stack",
]

_MISTAKES = (InputError, OutputTooLarge, Fatal)

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


class Running(Protocol):
    """A handler that runs, wherever that is."""

    def stop(self, times: int) -> bool:
        """Tell it to stop; `times` says how often that was done before. Returns False when it was left alone."""

    def stack(self) -> str:
        """Where it is now, as the lines of a traceback; empty when that cannot be seen."""


# Calling


def call(job: Job[..., Any], context: Context) -> Any:
    """Call the handler: its result, or what an async one gives to be awaited."""
    arguments = job.arguments.from_input(json_text(context._task.input))
    if job.arguments.takes_context:
        return job.function(context, **arguments)
    return job.function(**arguments)


def run(job: Job[..., Any], context: Context) -> str | None:
    """Run a plain handler to its end. Returns its output as JSON text, where that still matters."""
    output = call(job, context)
    return None if output is None or context._completed else job.output_text(output)


def output_error(output: str | None, limit: int) -> OutputTooLarge | None:
    """The error of an output, as JSON text, that is larger than the database takes."""
    if output is None or 4 * len(output) <= limit:  # a character has at most four bytes
        return None
    size = len(output.encode())
    if size <= limit:
        return None
    return OutputTooLarge(
        f"the output has {size} bytes of text; the limit is {limit}",
        "Store the data elsewhere and return a reference, or raise the limit: "
        "select underway.configure(max_output_size => '64 MB');",
    )


class InThread:
    """A plain handler that runs in a thread. It is told by its context, and cannot be made to stop.

    `thread` finds its thread; it gives None before the handler has begun and after its end.
    """

    def __init__(self, thread: Callable[[], int | None]) -> None:
        self._thread = thread

    def stop(self, times: int) -> bool:
        """It was told by its context; that is all."""
        return times == 0

    def stack(self) -> str:
        """Where it is now."""
        return thread_stack(self._thread())


class OnLoop:
    """The async handlers that a runner of the worker runs, one after the other."""

    def __init__(self, runner: asyncio.Task[None]) -> None:
        self.runner = runner

    def stop(self, times: int) -> bool:
        """Cancel it, and once more if it goes on."""
        return times < 2 and self.runner.cancel()

    def stack(self) -> str:
        """Where it waits now."""
        return _lines(list(_waiting_frames(self.runner.get_coro())))


# Stacks


def thread_stack(thread: int | None) -> str:
    """Where the handler in a thread is now, as the lines of a traceback."""
    frame = sys._current_frames().get(thread or 0)
    frames = [frame for frame, _ in traceback.walk_stack(frame)] if frame is not None else []
    return _lines(frames[::-1])


def _waiting_frames(waiting: Any) -> Iterator[FrameType]:
    """The frames of a coroutine that waits, and of those that it waits for; the outermost first."""
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is not None:
            yield frame
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)


def _lines(frames: list[FrameType]) -> str:
    """Frames as lines, from the handler's own first one on."""

    def is_ours(frame: FrameType) -> bool:
        return frame.f_code.co_filename.startswith(_PACKAGE)

    called = dropwhile(is_ours, dropwhile(lambda frame: not is_ours(frame), frames))
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in called)
    return "".join(summary.format())


# Words


class Report(NamedTuple):
    """A failed attempt in words, and what is to become of it. `meant` says that the handler said so on purpose."""

    type: str
    message: str
    traceback: str
    retryable: bool
    after: timedelta | None
    meant: bool

    def text(self) -> str:
        """The error as JSON text, as it is kept."""
        return statements.dump_json({"type": self.type, "message": self.message, "traceback": self.traceback})

    @classmethod
    def of(cls, error: BaseException) -> Report:
        """What an error says, in text that PostgreSQL takes, of a length that it keeps."""
        if isinstance(error, RemoteError):
            return error.report
        trace = "".join(traceback.format_exception(type(error), error, frames(error)))
        return cls(
            type=_plain(type(error).__qualname__, 200),
            message=_plain(_words(error), 4000),
            traceback=_plain(trace, 20000),
            retryable=not isinstance(error, _MISTAKES),
            after=error.after if isinstance(error, Retry) else None,
            meant=isinstance(error, (HandlerSignal, InputError, OutputTooLarge)),
        )


class RemoteError(Exception):
    """What a handler in another process raised."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"{report.type}: {report.message}")
        self.report = report
        self.add_note(report.traceback)


def frames(error: BaseException) -> TracebackType | None:
    """The traceback of an error, from the handler's own first line on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        frames = frames.tb_next
    return frames


def _plain(text: str, most: int) -> str:
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return text if len(text) <= most else f"{text[: most // 2]}\n...\n{text[-most // 2 :]}"


def _words(error: BaseException) -> str:
    """What an error says; its own code may fail at that."""
    try:
        return str(error)
    except Exception as failure:
        return f"(it cannot be said: {type(failure).__qualname__})"
