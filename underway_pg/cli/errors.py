"""Errors of the command line: the exit code and the one line of each."""

from __future__ import annotations

import psycopg

from ..errors import DatabaseUnavailable, UnderwayError

__all__ = ["WrongUsage", "exit_code_and_message"]


class WrongUsage(Exception):
    """The command was used wrongly. The message says how to use it."""


def exit_code_and_message(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the message of an expected error; None for any other."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    # Errors of typer, which are those of click or of the copy of click that some versions of typer contain.
    if isinstance(error, Exception) and hasattr(error, "format_message"):
        path = getattr(getattr(error, "ctx", None), "command_path", "underway")
        message = error.format_message().replace("Value error, ", "").removesuffix(".")
        return 2, f"{message}; see {path} --help"
    match error:
        case WrongUsage():
            return 2, str(error)
        case DatabaseUnavailable():
            return 1, f"{error}; check --dsn or DATABASE_URL"
        case UnderwayError():
            return 1, str(error)
        case psycopg.Error():
            hint = error.diag.message_hint
            return 1, f"the database reported an error: {error.diag.message_primary or error}" + (
                f". {hint}" if hint else ""
            )
        case UnicodeEncodeError():
            return 2, "an argument is not valid UTF-8"
    return None
