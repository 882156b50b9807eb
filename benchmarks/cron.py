"""The cost of evaluating a cron expression: underway.cron_next in the server, compared with croniter in Python.

    python benchmarks/cron.py [--dsn DSN] [--rounds N] [--json]

Without a dsn it starts an embedded PostgreSQL; a given database must have the schema. The time of a call is measured
inside the server, over many calls with different start times, so it includes neither the round trip nor the effect of
constant folding. Both sides parse the expression in each call. The figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from croniter import croniter
from rich.console import Console
from rich.table import Table

from underway_pg import schema
from underway_pg.embedded import EmbeddedPostgres

CALLS_OF_UNDERWAY = 1_000
CALLS_OF_CRONITER = 100

# Starts are spread over more than a year: all hours, days and months, and changes of clocks.
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=9, minutes=13, seconds=19)


@dataclass(frozen=True)
class Case:
    kind: str
    cron: str
    zone: str = "UTC"


CASES = [
    Case("ordinary", "* * * * *"),
    Case("ordinary", "* * * * *", "Europe/Berlin"),
    Case("ordinary", "*/5 * * * *"),
    Case("ordinary", "0 9 * * mon-fri", "Europe/Berlin"),
    Case("ordinary", "0 0 1 * *"),
    Case("ordinary", "30 2 * * *", "America/New_York"),
    Case("ordinary", "0 0 L * *", "Europe/Berlin"),
    Case("ordinary", "0 9 * * mon#1", "America/New_York"),
    Case("ordinary", "* * * * * *"),
    Case("ordinary", "@daily", "Asia/Kolkata"),
    Case("sparse", "0 0 29 2 *"),
    Case("sparse", "0 0 0 1 1 * 2099"),
    Case("sparse", "0 0 * 2 mon#5"),
    Case("sparse", "0 0 * 2 mon#5", "America/New_York"),
    Case("never", "0 0 31 2 *"),
    Case("never", "0 0 31 2,4,6,9,11 *", "Europe/Berlin"),
]


@dataclass(frozen=True)
class Result:
    """Medians, in microseconds a call."""

    kind: str
    cron: str
    zone: str
    underway: float
    croniter_in_utc: float
    croniter_in_zone: float

    @property
    def ratio(self) -> float:
        """Return how many times longer croniter takes, in the time zone of the case."""
        return self.croniter_in_zone / self.underway


MEASURE = """
    create or replace function pg_temp.measure(cron text, zone text, first timestamptz, step interval, calls integer)
    returns float8
    language plpgsql
    as $$
    declare
        v_start timestamptz := clock_timestamp();
    begin
        for v_number in 1..calls loop
            perform underway.cron_next(cron, zone, first + v_number * step);
        end loop;
        return extract(epoch from clock_timestamp() - v_start) * 1e6 / calls;
    end;
    $$"""


def by_underway(connection: psycopg.Connection[Any], case: Case, calls: int) -> float:
    row = connection.execute(
        "select pg_temp.measure(%s, %s, %s, %s, %s)", [case.cron, case.zone, FIRST, STEP, calls]
    ).fetchone()
    assert row is not None
    microseconds: float = row[0]
    return microseconds


def by_croniter(case: Case, zone: tzinfo, calls: int) -> float:
    # With a year field, all years; otherwise as many years as cron_next searches for an expression that never matches.
    years = 200 if len(case.cron.split()) == 7 else 41
    starts = [(FIRST + number * STEP).astimezone(zone) for number in range(1, calls + 1)]
    begun = time.perf_counter()
    for start in starts:
        with contextlib.suppress(ValueError):
            croniter(case.cron, start, second_at_beginning=True, max_years_between_matches=years).get_next(float)
    return (time.perf_counter() - begun) * 1e6 / calls


def measure(connection: psycopg.Connection[Any], case: Case, rounds: int) -> Result:
    by_underway(connection, case, 10)
    ours, in_utc, in_zone = [], [], []
    for _ in range(rounds):
        ours.append(by_underway(connection, case, CALLS_OF_UNDERWAY))
        in_utc.append(by_croniter(case, UTC, CALLS_OF_CRONITER))
        in_zone.append(by_croniter(case, ZoneInfo(case.zone), CALLS_OF_CRONITER))
    return Result(case.kind, case.cron, case.zone, *map(statistics.median, (ours, in_utc, in_zone)))


@contextlib.contextmanager
def connected(dsn: str | None) -> Iterator[psycopg.Connection[Any]]:
    with contextlib.ExitStack() as cleanup:
        if dsn is None:
            dsn = cleanup.enter_context(EmbeddedPostgres()).dsn
            schema.migrate(dsn)
        connection = cleanup.enter_context(psycopg.connect(dsn, autocommit=True))
        connection.execute(MEASURE)
        yield connection


def show(results: list[Result], title: str) -> None:
    table = Table(title=title, caption="Microseconds a call, including parsing of the expression.")
    for heading in ("", "expression", "zone"):
        table.add_column(heading, no_wrap=True)
    for heading in ("underway", "croniter", "in zone", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in results:
        times = (one.underway, one.croniter_in_utc, one.croniter_in_zone)
        table.add_row(one.kind, one.cron, one.zone, *(f"{value:,.0f}" for value in times), f"{one.ratio:.1f}")
    # Wide enough for all columns if the width of the output is unknown.
    Console(width=max(Console().width, 100)).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", help="a database with the schema (default: start an embedded PostgreSQL)")
    parser.add_argument("--rounds", type=int, default=7, help="number of measurements of each expression (default: 7)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    with connected(arguments.dsn) as connection:
        server = connection.info.parameter_status("server_version")
        results = [measure(connection, case, max(arguments.rounds, 1)) for case in CASES]
    if arguments.json:
        rows = [{**asdict(one), "ratio": one.ratio} for one in results]
        print(json.dumps({"postgresql": server, "python": platform.python_version(), "cases": rows}, indent=2))
    else:
        show(results, f"PostgreSQL {server}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
