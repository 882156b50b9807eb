"""Programs and libraries of Debian's packages: those of the system, or those that tools/debian has unpacked."""

from __future__ import annotations

import os
import shutil
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNPACKED = ROOT / ".cache" / "debian"


class CannotRun(unittest.SkipTest):
    """What a test needs cannot be had here: pytest skips it. The message says what is missing, and what to do."""


def program(name: str, package: str) -> Path:
    """A program, or a script that starts it."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", str(UNPACKED / "bin")]
    if found := shutil.which(name, path=os.pathsep.join(places)):
        return Path(found)
    raise _missing(name, package)


def library(name: str, package: str) -> Path:
    """A library; `name` is its path in the directory of libraries."""
    for root in (Path("/"), UNPACKED):
        if found := next(root.glob(f"usr/lib/*/{name}"), None):
            return found
    raise _missing(name, package)


def server() -> Path | None:
    """The programs of the PostgreSQL that was unpacked, where the system has none."""
    programs = UNPACKED / "bin"
    return programs if (programs / "postgres").is_file() else None


def _missing(name: str, package: str) -> CannotRun:
    return CannotRun(f"{name} was not found: run tools/debian, or install it (Debian: apt-get install {package})")
