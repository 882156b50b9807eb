"""What the command line says of an error, and the exit code."""

from __future__ import annotations

import psycopg

from ..errors import DatabaseUnavailable, UnderwayError

__all__ = ["WrongUsage", "explained"]


class WrongUsage(Exception):
    """What is asked for makes no sense; the message says what would."""


def explained(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the one line for an error; None for one that should not happen."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    # typer's own, which come from click or from typer's copy of it, as its version has it.
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
        case psycopg.ProgrammingError(sqlstate=None):
            return 2, "the dsn is no PostgreSQL URI; write it as postgresql://user:password@host:port/database"
        case psycopg.Error():
            hint = error.diag.message_hint
            return 1, f"the database refused: {error.diag.message_primary or error}" + (f". {hint}" if hint else "")
        case UnicodeEncodeError():
            return 2, "an argument is no UTF-8 text; give it in UTF-8"
    return None
