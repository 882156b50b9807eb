"""The command `doctor`: find what is wrong with the installation, and say what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import psycopg
import typer

from .. import statements
from ..client import execute
from ..doctor import Finding, Level, examine
from .databases import Databases, on_databases
from .options import Json
from .output import amount, echo, echo_json

__all__ = ["commands"]

commands = typer.Typer()

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


@commands.command()
@on_databases
def doctor(
    databases: Databases,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are warnings, too.")] = False,
    as_json: Json = False,
) -> None:
    """Check schema, server, workers, queues and schedules; each finding has its remedy, a command or SQL.

    The exit code is 1 if there is a problem. Connect as the user of the workers to check its settings and rights, or as
    a member of underway_observer or underway_operator, who may see everything.
    """
    findings: list[tuple[str, Finding]] = []
    numbers: dict[int, str] = {}
    for shard, connection in databases.each():
        findings += [(shard, finding) for finding in examine(connection, databases.dsns[shard])]
        if databases.several:
            findings += [(shard, finding) for finding in _check_number(connection, shard, numbers)]
    found = Counter(finding.level for _, finding in findings)
    failed = bool(found[Level.PROBLEM] or databases.unreachable or (strict and found[Level.WARNING]))
    if as_json:
        listed = [{**({"shard": shard} if databases.several else {}), **asdict(each)} for shard, each in findings]
        echo_json(databases.with_unreachable({"healthy": not failed, "findings": listed}))
    else:
        for shard, finding in findings:
            _show(finding, f"{shard}: " if databases.several else "")
        echo(f"{amount(found[Level.PROBLEM], 'problem')}, {amount(found[Level.WARNING], 'warning')}")
    if failed:
        raise typer.Exit(1)


def _check_number(connection: psycopg.Connection[Any], shard: str, numbers: dict[int, str]) -> Iterator[Finding]:
    """Whether the number of a shard, which is in its ids, is its own. `numbers` has those of the others."""
    number = execute(connection, statements.shard())
    other = numbers.setdefault(number, shard)
    if other != shard:
        yield Finding(
            check="shard", level=Level.PROBLEM, what=f"it is shard {number}, and so is {other}", value=number,
            remedy="underway migrate --shard N with a free number, in a database that has had no task",
        )  # fmt: skip


def _show(finding: Finding, prefix: str) -> None:
    """Print a finding in one line, and its remedy in another."""
    echo(prefix, nl=False)
    typer.secho(f"{finding.level:<8} ", fg=_COLOURS[finding.level], nl=False)
    echo(f"{finding.check:<16} {finding.what}")
    if finding.remedy:
        echo(f"{'':<25} remedy: {finding.remedy}")
