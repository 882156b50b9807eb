"""The cost of a plain task, in instructions of the server. Unlike times, they do not vary with the load of the machine.

    python benchmarks/instructions.py                        this version
    python benchmarks/instructions.py before.sql after.sql   others, each as the one file that `make sql` writes

Needs valgrind, and PostgreSQL binaries that the account of the server may run (`--bin`, by default the system's). A
server is filled with tasks and stopped. `postgres --single` then runs a block under callgrind that claims, completes or
enqueues, with a commit after each call: once with few calls, and once with more. The figures are the difference of the
two, divided by the number of tasks. Two runs agree within 0.01%.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from underway_pg import schema
from underway_pg.embedded import EmbeddedPostgres, system_binaries

CALLGRIND = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]

READY = 20_000
SETTINGS = {"autovacuum": "off", "jit": "off", "max_wal_size": "4GB", "checkpoint_timeout": "1h"}

FILL = """
    select underway.enqueue_many('q', array(select jsonb_build_object('i', i, 'text', repeat('x', 90))
        from generate_series(1, 1000) i))
    from generate_series(1, %s / 1000)"""
CLAIM = "select array_agg(id), array_agg(lease) into t, l from underway.dequeue(array['q'], {size}); commit;"
COMPLETE = "perform underway.complete_many(t, l); commit;"
ENQUEUE = (
    "perform underway.enqueue_many('q', array(select jsonb_build_object('i', n, 'text', repeat('x', 90))"
    " from generate_series(1, {size}) n)); commit;"
)
SEED = "perform setseed(0.5);"  # a claim advances the watermark at random
ENQUEUE_ONE = "perform underway.enqueue('q', '{{\"i\": 1}}'); commit;"


@dataclass(frozen=True)
class Work:
    """A step of the block, the number of tasks in each call, and the two numbers of calls that are compared."""

    name: str
    step: str
    size: int
    turns: tuple[int, int]

    def block(self, turns: int) -> str:
        step = self.step.format(size=self.size)
        return f"do $$ declare t bigint[]; l uuid[]; begin {SEED} for i in 1..{turns} loop {step} end loop; end $$"


WORKS = [
    Work("claim by 500", CLAIM, 500, (5, 15)),
    Work("claim and completion by 500", CLAIM + COMPLETE, 500, (5, 15)),
    Work("claim and completion one by one", CLAIM + COMPLETE, 1, (100, 400)),
    Work("enqueue by 500", ENQUEUE, 500, (5, 15)),
    Work("enqueue one by one", ENQUEUE_ONE, 1, (100, 400)),
]


def filled(directory: Path, binaries: Path, sql: Path | None) -> Path:
    """Return the data directory of a stopped server with the given schema and many ready tasks."""
    data = directory / "data"
    with (
        EmbeddedPostgres(bin_directory=binaries, data_directory=data, settings=SETTINGS) as server,
        psycopg.connect(server.dsn, autocommit=True) as connection,
    ):
        if sql is None:
            schema.migrate(server.dsn)
        else:
            connection.execute(sql.read_bytes())
        connection.execute("select underway.create_queue('q')")
        connection.execute(FILL.replace("%s", str(READY)).encode())
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")
    return data


def instructions(data: Path, binaries: Path, block: str) -> int:
    """Return how many instructions a stand-alone backend executes for a block, on a copy of the data."""
    copy = data.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    owner = pwd.getpwuid(data.stat().st_uid)
    subprocess.run(["cp", "-a", data, copy], check=True)
    account = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    ended = subprocess.run(
        [*CALLGRIND, binaries / "postgres", "--single", "-D", copy, "postgres"],
        input=block, text=True, capture_output=True, check=True, cwd=copy, **account,
    )  # fmt: skip
    counted = re.search(r"Collected : (\d+)", ended.stderr)
    if counted is None or "ERROR" in ended.stderr:
        raise SystemExit(f"the block failed:\n{ended.stderr}")
    return int(counted[1])


def measure(binaries: Path, sql: Path | None, console: Console, works: Sequence[Work] = tuple(WORKS)) -> dict[str, int]:
    """Return the instructions for each task, by the name of the work."""
    with tempfile.TemporaryDirectory(prefix="underway-") as path:
        directory = Path(path)
        directory.chmod(0o755)
        with console.status("filling a queue"):
            data = filled(directory, binaries, sql)
        counts = {}
        for work in works:
            few, many = work.turns
            with console.status(work.name):
                least, most = (instructions(data, binaries, work.block(turns)) for turns in work.turns)
            counts[work.name] = round((most - least) / (work.size * (many - few)))
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sql", type=Path, nargs="*", help="schemas, each in one file")
    parser.add_argument("--bin", type=Path, default=system_binaries(), help="the directory of PostgreSQL's binaries")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    if shutil.which("valgrind") is None or given.bin is None:
        missing = "valgrind is not installed" if given.bin else "PostgreSQL binaries were not found; set --bin"
        print(missing, file=sys.stderr)
        return 2
    console = Console(stderr=True)
    columns = {str(sql or "this version"): measure(given.bin, sql, console) for sql in given.sql or [None]}
    if given.json:
        print(json.dumps(columns, indent=1))
        return 0
    table = Table("instructions a task", *columns, title="Instructions of the server for a plain task")
    for work in WORKS:
        table.add_row(work.name, *(f"{counts[work.name]:,}" for counts in columns.values()))
    Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
