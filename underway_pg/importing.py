"""Whether this process imports the program of a worker, to run its jobs: what the program does then is not repeated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ProgramReachedRun", "importing_program", "is_importing_program"]

_is_importing = False


class ProgramReachedRun(BaseException):
    """The program would become a worker here: its import ends. All that it defines later, the worker lacks too."""


@contextmanager
def importing_program() -> Iterator[None]:
    """Import the program, or a module of it, in the block."""
    global _is_importing
    _is_importing = True
    try:
        yield
    finally:
        _is_importing = False


def is_importing_program() -> bool:
    """Whether this process runs jobs for a worker, and is importing them."""
    return _is_importing
