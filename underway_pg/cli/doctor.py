"""The command `doctor`: find what is wrong with the installation, and say what to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from ..doctor import Finding, Level, examine
from .database import connect, require_dsn
from .options import Dsn, Json
from .output import amount, echo, echo_json

__all__ = ["commands"]

commands = typer.Typer()

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


@commands.command()
def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are warnings, too.")] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Check schema, server, workers, queues and schedules; each finding has its remedy, a command or SQL.

    The exit code is 1 if there is a problem. Connect as the user of the workers to check its settings and rights, or as
    a member of underway_observer or underway_operator, who may see everything.
    """
    with connect(dsn) as connection:
        findings = examine(connection, require_dsn(dsn))
    found = Counter(finding.level for finding in findings)
    failed = bool(found[Level.PROBLEM] or (strict and found[Level.WARNING]))
    if as_json:
        echo_json({"healthy": not failed, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _show(finding)
        echo(f"{amount(found[Level.PROBLEM], 'problem')}, {amount(found[Level.WARNING], 'warning')}")
    if failed:
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    """Print a finding in one line, and its remedy in another."""
    typer.secho(f"{finding.level:<8} ", fg=_COLOURS[finding.level], nl=False)
    echo(f"{finding.check:<16} {finding.what}")
    if finding.remedy:
        echo(f"{'':<25} remedy: {finding.remedy}")
