"""The benchmark of Underway: ratios to other systems, measured side by side in one run.

    python benchmarks/run.py                      the whole table, on a PostgreSQL of its own
    python benchmarks/run.py --only drain-1,bulk  some rows
    python benchmarks/run.py --short              a few small rows, compared with the raw limit only
    python benchmarks/run.py --short --only claim the short form of other rows, for trials

The rows are described in docs/benchmarks.md. The exit status does not depend on the figures: it is 0 unless a row could
not be measured.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import platform
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psycopg
from results import Line, Report
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rows import ROWS, SHORT, SHORT_SCALE, Bench, Scale
from server import Failure, Server, given_server, machine, own_server
from systems import ADAPTERS, System

ROOT = Path(__file__).resolve().parent.parent
PEERS = [name for name in ADAPTERS if name not in ("raw", "underway")]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_names(ROWS), metavar="ROWS", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument(
        "--short", action="store_true", help=f"small rows for trials (default of --only: {','.join(SHORT)})"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each row, instead of three or five")
    parser.add_argument("--bin", type=Path, help="the directory of the PostgreSQL binaries to use")
    parser.add_argument("--dsn", help="a superuser's URI of a running PostgreSQL to use instead")
    parser.add_argument("--peers", type=Path, default=ROOT / ".cache/peers", help="where the peers are installed")
    parser.add_argument(
        "--beside",
        type=_names(ADAPTERS),
        metavar="NAMES",
        help=f"the peers (default: {','.join(PEERS)}; with --short none)",
    )
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="write DATE.json, .md and .png there")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--of", type=Path, metavar="JSON", help="show or write a run again instead of measuring")
    return parser.parse_args()


def _names(known: dict[str, object]):
    def read(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of: {', '.join(known)}")
        return names

    return read


@contextlib.contextmanager
def server(given: argparse.Namespace) -> Iterator[Server]:
    with given_server(given.dsn) if given.dsn else own_server(given.bin) as server:
        yield server


def installed(server: Server, names: list[str], directory: Path, console: Console) -> list[System]:
    """Return the peers that are installed, and print the names of the others."""
    peers = []
    for name in names:
        try:
            peers.append(System(server, name, peers=directory.absolute()))
        except Failure:
            console.print(f"{name} is not installed; `make bench-peers` installs it", highlight=False)
    return peers


def commit() -> str:
    """Return the commit of the repository, or an empty string outside of one. Changes of the docs do not matter."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True).stdout

    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        changed = git("status", "--porcelain", "--", "sql", "underway_pg", "benchmarks")
        return f" ({git('rev-parse', '--short', 'HEAD').strip()}{', changed' if changed else ''})"
    return ""


def versions(server: Server, peers: list[System]) -> dict[str, str]:
    found = {
        "underway": f"{version('underway-pg')}{commit()}",
        "PostgreSQL": server.value("show server_version").split()[0],
    }
    found["Python"] = platform.python_version()
    for package in ("psycopg", "uvloop"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return {**found, **{peer.name: peer.version for peer in peers}}


def measure(given: argparse.Namespace, console: Console) -> Report:
    scale = SHORT_SCALE if given.short else Scale()
    if given.rounds:
        each = max(given.rounds, 1)
        scale = dataclasses.replace(scale, rounds=each, short_rounds=each)
    names = given.only or (SHORT if given.short else list(ROWS))
    begun = time.monotonic()
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
    )
    with progress, server(given) as postgres:
        beside = ([] if given.short else PEERS) if given.beside is None else given.beside
        peers = installed(postgres, beside, given.peers, console)
        report = Report(
            taken_at=datetime.now(UTC).isoformat(sep=" ", timespec="minutes").removesuffix("+00:00") + " UTC",
            machine=machine(),
            versions=versions(postgres, peers),
            settings=postgres.settings(),
        )
        bar = progress.add_task("", total=len(names))
        for name in names:
            bench = Bench(postgres, scale, peers, lambda text: progress.update(bar, description=f"{name}: {text}"))  # noqa: B023
            started = time.monotonic()
            try:
                for result in ROWS[name](bench):
                    (report.lines if isinstance(result, Line) else report.curves).append(result)
            except (Failure, psycopg.Error) as error:
                report.missing[name] = str(error).strip().partition("\n")[0]
            except KeyboardInterrupt:
                report.missing[name] = "interrupted"
                break
            report.missing |= {f"{name}: {other}": why for other, why in bench.missing.items()}
            progress.advance(bar)
            console.print(f"{name}: {time.monotonic() - started:.0f} s", highlight=False)
        report.seconds = time.monotonic() - begun
    return report


def main() -> int:
    given = arguments()
    # Interrupted, or stopped by a time limit, the run reports the rows that it has.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress_console = Console(stderr=True)
    report = Report.from_json(given.of.read_text()) if given.of else measure(given, progress_console)
    if given.json:
        print(report.as_json(), end="")
    else:
        # Wide enough for all columns if the width of the output is unknown.
        report.show(Console(width=max(Console().width, 150)))
    for path in report.write(given.write, [] if given.of else list(ROWS)) if given.write else []:
        progress_console.print(f"written: {path}", highlight=False, soft_wrap=True)
    return 1 if report.missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
