"""The command `underway demo`: runs the demo of the checkout that this package lies in."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "demo.py"


def main(argv: Sequence[str] = ()) -> int:
    """Become the demo. Returns 1, after a line that says why, where the package was installed without its examples."""
    if _SCRIPT.is_file():
        os.execv(sys.executable, [sys.executable, str(_SCRIPT), *argv])
    print("the demo is not in the installed package: run `make demo` in a checkout of Underway", file=sys.stderr)
    return 1
