"""The command `doctor`: find what is wrong with the installation, and say what to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from ..doctor import Level, examine
from .database import connect, require_dsn
from .options import Dsn, Json
from .output import amount, echo, echo_json, echo_table

__all__ = ["commands"]

commands = typer.Typer()


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
        echo_table(
            ["check", "state", "what", "remedy"],
            [[finding.check, finding.level, finding.what, finding.remedy] for finding in findings],
        )
        echo(f"{amount(found[Level.PROBLEM], 'problem')}, {amount(found[Level.WARNING], 'warning')}")
    if failed:
        raise typer.Exit(1)
