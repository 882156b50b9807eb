"""After a fork: locks and connections of the parent process are of no use in the child."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["after_fork"]


class Forkable(Protocol):
    """An object with something that a child of a fork must not use."""

    def _after_fork(self) -> None:
        """Start afresh, in the child."""


_FORKABLE: WeakSet[Forkable] = WeakSet()


def _start_afresh() -> None:
    for each in list(_FORKABLE):
        each._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


def after_fork(each: Forkable) -> None:
    """Have `_after_fork` of an object called in each child that is forked while it lives."""
    _FORKABLE.add(each)
