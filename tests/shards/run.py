"""Run the scenarios of shards and failover in their long form, and print a table.

python -m tests.shards.run [--short] [NAME...]
"""

from __future__ import annotations

import sys

from tests.debian import CannotRun
from tests.shards import failover

HEAD = (
    "scenario", "acknowledged", "lost", "run twice", "finished twice", "there unacknowledged", "writable after, s",
    "first task after, s", "longest failed call, s", "complaints",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    scale = failover.SHORT if "--short" in arguments else failover.LONG
    names = [name for name in arguments if name != "--short"] or list(failover.SCENARIOS)
    print(f"| {' | '.join(HEAD)} |\n|---{'|---:' * (len(HEAD) - 2)}|---|", flush=True)
    complaints = 0
    for name in names:
        try:
            outcome = failover.SCENARIOS[name](name, scale)
        except CannotRun as error:
            print(f"not run: {error}", file=sys.stderr)
            return 1
        complaints += len(outcome.complaints)
        print(failover.row(outcome), flush=True)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
