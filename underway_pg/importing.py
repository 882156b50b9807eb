"""Importing modules of the application.

While a process imports the program of its worker, to find its jobs, it does not repeat what the program does.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from .errors import ConfigurationError

__all__ = ["ImportStopped", "import_module", "importing_program", "stop_import_of_program"]

_is_importing = False


class ImportStopped(BaseException):
    """The program would enqueue a task or run a worker here, so its import ends."""


@contextmanager
def importing_program() -> Iterator[None]:
    """In the block, this process of a worker imports the program, or a module of it."""
    global _is_importing
    _is_importing = True
    try:
        yield
    finally:
        _is_importing = False


def stop_import_of_program() -> None:
    """To be called where a task is enqueued or a worker made. Raises ImportStopped inside of `importing_program`."""
    if _is_importing:
        raise ImportStopped


def import_module(name: str) -> ModuleType:
    """Import a module of the application.

    Raises ModuleNotFoundError if there is none, and ConfigurationError, in one line, for whatever its import raises.
    """
    try:
        return importlib.import_module(name)
    except ConfigurationError:
        raise  # its message names the line
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ModuleNotFoundError(
                f"module {error.name!r} was not found in {Path.cwd()} or on the Python path"
            ) from None
        hint = f"for the traceback: python -c 'import {name}'"
        raise ConfigurationError(f"importing {name} failed: {_where(error)}; {hint}") from error


def _where(error: Exception) -> str:
    """An error of the application in one line, with its file and line."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return text  # its message names the line
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{text} ({last.filename}:{last.lineno})"
