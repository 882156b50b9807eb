"""Collects the pgTAP files: each is one test for each server, and passes as its TAP says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from _pytest._code.code import TerminalRepr
from psycopg.pq import DiagnosticField, ExecStatus, PGresult

from tests.conftest import SERVERS, repetition
from tests.servers import HELPERS, Source

PLAN = re.compile(r"1\.\.(\d+)")
OUTCOME = re.compile(r"(not )?ok \d+")
EXPECTED_TO_FAIL = re.compile(r"not ok .*# TODO")


class PgTapError(Exception):
    """The TAP of a file says that it failed, or an error ended it."""


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.File | None:
    if file_path.suffix == ".sql" and file_path != HELPERS:
        return PgTapFile.from_parent(parent, path=file_path)
    return None


class PgTapFile(pytest.File):
    def collect(self) -> Iterator[PgTapItem]:
        for number, source in enumerate(self.config.stash[SERVERS].sources):
            item = PgTapItem.from_parent(self, name=source.name, source=source)
            for mark in repetition(number):
                item.add_marker(mark)
            yield item


class PgTapItem(pytest.Item):
    def __init__(self, *, source: Source, **arguments: object) -> None:
        super().__init__(**arguments)
        self.source = source

    def runtest(self) -> None:
        script = self.path.read_text()
        server = self.config.stash[SERVERS].get(self.source)
        connection = server.pgtap_connection
        try:
            lines, error = run(connection, script)
        finally:
            # As if the next file had a connection of its own, which would compile each function again.
            connection.rollback()
            connection.execute("discard all")
            # The rows that it has left are dead, and the database counts them.
            if connection.info.server_version >= 150000:
                connection.execute("select pg_stat_force_next_flush()")
            connection.execute("select pg_stat_reset()")
        problems = failures(lines)
        if error is not None:
            # Most errors have no place in the script, but the last test before them has.
            last = next((line for line in reversed(lines) if OUTCOME.match(line)), "the beginning")
            problems.append(f"{describe(error, script)}\nafter: {last}")
        elif complaint := plan_mismatch(lines):
            problems.append(complaint)
        if problems:
            raise PgTapError("\n".join(problems))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str | TerminalRepr:
        if isinstance(excinfo.value, PgTapError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.relative_to(self.config.rootpath)}[{self.name}]"


def run(connection: psycopg.Connection, script: str) -> tuple[list[str], PGresult | None]:
    """Run a script as one simple query; its lines of TAP, and the error that ended it, if any.

    Over libpq itself, because a cursor forgets the results that came before an error.
    """
    lines: list[str] = []
    error = None
    connection.pgconn.send_query(script.encode())
    while result := connection.pgconn.get_result():
        if result.status == ExecStatus.FATAL_ERROR:
            error = result
        elif result.nfields == 1:
            for row in range(result.ntuples):
                value = result.get_value(row, 0) or b""
                lines += value.decode().splitlines()
    return lines, error


def failures(lines: list[str]) -> list[str]:
    """The failed tests, each with the diagnostics that follow it."""
    shown: list[str] = []
    failed = False
    for line in lines:
        if OUTCOME.match(line):
            failed = line.startswith("not ") and not EXPECTED_TO_FAIL.match(line)
        if failed and (OUTCOME.match(line) or line.startswith("#")):
            shown.append(line)
    return shown


def plan_mismatch(lines: list[str]) -> str | None:
    plans = [int(plan[1]) for line in lines if (plan := PLAN.fullmatch(line))]
    ran = sum(1 for line in lines if OUTCOME.match(line))
    if len(plans) != 1:
        return f"needs one plan, has {len(plans)}: begin with select plan(n)"
    if plans[0] != ran:
        return f"planned {plans[0]} tests, ran {ran}"
    return None


def describe(error: PGresult, script: str) -> str:
    """An SQL error with its context, and the line of the script where the server names a place."""

    def field(which: DiagnosticField) -> str:
        return (error.error_field(which) or b"").decode()

    described = f"{field(DiagnosticField.SQLSTATE)}: {field(DiagnosticField.MESSAGE_PRIMARY)}"
    if position := field(DiagnosticField.STATEMENT_POSITION):
        line = script.count("\n", 0, int(position) - 1) + 1
        described = f"line {line}: {described}"
    for name, which in {
        "detail": DiagnosticField.MESSAGE_DETAIL,
        "hint": DiagnosticField.MESSAGE_HINT,
        "context": DiagnosticField.CONTEXT,
    }.items():
        if text := field(which):
            described += f"\n{name}: {text}"
    return described
