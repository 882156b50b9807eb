"""A failed attempt in words that PostgreSQL can store and a log can show."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .. import statements
from ..errors import HandlerSignal, InputError, OutputTooLarge, Retry, UnknownArguments
from ..job import Job
from .stacks import handler_traceback

__all__ = ["Failure", "RemoteError"]

_TRACEBACK = 20000  # characters


@dataclass(frozen=True, slots=True)
class Failure:
    """What is recorded of an error. `after` is the delay of the retry that the handler asked for.

    `intentional` says that the handler, or the check of its arguments, raised it on purpose: no traceback is logged.
    `unknown` says that the job does not know the arguments. `loggable`: the error is neither huge nor impossible to
    format, so that a log may format it by itself.
    """

    type: str
    message: str
    traceback: str
    retryable: bool
    after: timedelta | None
    intentional: bool
    unknown: bool = False
    loggable: bool = True

    def text(self) -> str:
        """The error as JSON text, as it is stored."""
        return statements.dump_json({"type": self.type, "message": self.message, "traceback": self.traceback})

    @classmethod
    def of(cls, error: BaseException, job: Job[..., Any] | None) -> Failure:
        """Describe an error, whatever it is, in text of limited length."""
        if isinstance(error, RemoteError):
            return error.failure
        trace, loggable = _traceback(error)
        return cls(
            type=_bounded(type(error).__qualname__, 200),
            message=_bounded(_message(error), 4000),
            traceback=_bounded(trace, _TRACEBACK),
            retryable=job is None or job._is_retryable(error),
            after=error.after if isinstance(error, Retry) else None,
            intentional=isinstance(error, (HandlerSignal, InputError, OutputTooLarge)),
            unknown=isinstance(error, UnknownArguments),
            loggable=loggable,
        )


class RemoteError(Exception):
    """What a handler raised in another process."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure = failure
        self.add_note(failure.traceback)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # its own code
        return f"<str() raised {type(failure).__qualname__}>"


def _traceback(error: BaseException) -> tuple[str, bool]:
    """The traceback, and whether it is one that a log may format again."""
    try:
        trace = "".join(traceback.format_exception(type(error), error, handler_traceback(error)))
    except Exception as failure:  # as of an exception whose attributes raise
        trace = "".join(traceback.format_tb(handler_traceback(error)))
        return f"{trace}{type(error).__qualname__} (cannot be formatted: {type(failure).__qualname__})", False
    return trace, len(trace) <= _TRACEBACK


def _bounded(text: str, limit: int) -> str:
    """Text that PostgreSQL takes, shortened in the middle before anything expensive is done with it."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}\n...\n{text[-limit // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
