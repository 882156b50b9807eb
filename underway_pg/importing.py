"""While a process imports the program of its worker, to find its jobs, it does not repeat what the program does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ImportStopped", "importing_program", "stop_import_of_program"]

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
