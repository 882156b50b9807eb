"""Run all checks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg

from . import _failover, _schema, _server, _work
from ._check import Check, Finding, Level, Limits
from ._facts import Facts

__all__ = ["CHECKS", "examine"]

CHECKS = (
    Check(name="schema", run=_schema.check_schema, fine="it is that of this package"),
    Check(name="functions", run=_schema.check_functions, fine="they are as this package installs them"),
    Check(name="indexes", run=_schema.check_indexes, fine="they exist, and the tables are analyzed"),
    Check(name="roles", run=_schema.check_roles, fine="the four roles exist with their rights"),
    Check(name="rights", run=_schema.check_rights, fine="the user of this connection has rights"),
    Check(name="server", run=_server.check_server, fine="it takes writes"),
    Check(name="settings", run=_server.check_settings, fine="none loses data, spoils plans or ends transactions"),
    Check(name="autovacuum", run=_server.check_autovacuum, fine="it runs and removes dead rows"),
    Check(name="snapshots", run=_server.check_snapshots, fine="no old transaction, prepared transaction or slot"),
    Check(name="transaction ids", run=_server.check_transaction_ids, fine="they are not running out"),
    Check(name="connections", run=_server.check_connections, fine="there are enough for all workers"),
    Check(name="clock", run=_server.check_clock, fine="the server and this machine agree"),
    Check(name="notifications", run=_server.check_notifications, fine="they arrive"),
    Check(name="publications", run=_server.check_publications, fine="subscribers can identify the rows"),
    Check(name="failover", run=_failover.check_failover, fine="nothing is known that would lose or repeat tasks"),
    Check(name="workers", run=_work.check_workers, fine="they are alive and of one version"),
    Check(name="queues", run=_work.check_queues, fine="each with ready tasks has workers that start them"),
    Check(name="jobs", run=_work.check_jobs, fine="workers know each job that has tasks"),
    Check(name="schedules", run=_work.check_schedules, fine="none fails or is late"),
    Check(name="moves", run=_work.check_moves, fine="no task is on its way to another database"),
)


def examine(
    connection: psycopg.Connection[Any],
    dsn: str,
    *,
    limits: Limits = Limits(),  # noqa: B008  # it is frozen
    now: Callable[[], float] = time.time,
) -> list[Finding]:
    """Run all checks on the database of a connection in autocommit mode; returns findings in the order of the checks.

    `dsn` leads to the same database: a notification is sent over a second connection. `now` is the clock of this
    machine, in seconds since 1970. A check that needs a right which the user does not have is a warning.
    """
    facts = Facts(connection, dsn, now)
    if not facts.installed:
        what = "the schema underway is not installed"
        return [Finding(check="schema", level=Level.PROBLEM, what=what, remedy="underway migrate")]
    findings: list[Finding] = []
    refused: dict[str, list[str]] = {}
    for check in CHECKS:
        try:
            found = [replace(finding, check=check.name) for finding in check.run(facts, limits)]
        except psycopg.errors.InsufficientPrivilege as error:
            refused.setdefault(str(error.diag.message_primary or error), []).append(check.name)
            continue
        findings += found or [Finding(check=check.name, level=Level.OK, what=check.fine)]
    for message, names in refused.items():
        findings.append(
            Finding(
                check=names[0],
                level=Level.WARNING,
                what=f"not checked: {', '.join(names)}: {message}",
                value=names,
                remedy=f'connect as the owner, or: grant underway_observer to "{facts.user}"',
            )
        )
    return findings
