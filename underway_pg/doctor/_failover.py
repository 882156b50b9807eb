"""Check of what decides the outcome of a failover: standbys, their replication, leases, and the hosts of the dsn."""

from __future__ import annotations

from collections.abc import Iterator

from ._check import Finding, Limits, problem, warning
from ._facts import Facts

__all__ = ["check_failover"]


def check_failover(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """A failover loses no task and repeats none, as far as can be seen from here."""
    names = facts.setting("synchronous_standby_names").value
    standbys = [row["name"] for row in facts.standbys]
    synchronous = [row["name"] for row in facts.standbys if row["sync_state"] in ("sync", "quorum")]
    if names and not synchronous and not facts.standby:
        yield problem(
            f"synchronous_standby_names is {names!r}, and no such standby follows: every commit waits for one", names,
            "start the standby, or: alter system set synchronous_standby_names = ''; select pg_reload_conf()",
        )  # fmt: skip
    elif standbys and not synchronous:
        yield warning(
            f"no standby is synchronous ({', '.join(standbys)}): a failover loses the tasks that it has not received",
            standbys,
            "patronictl edit-config -s synchronous_mode=true, or: alter system set synchronous_standby_names = '*';"
            " select pg_reload_conf()",
        )
    elif synchronous and (setting := facts.setting("synchronous_commit")).value == "local":
        yield warning(
            "synchronous_commit is local: commits do not wait for the synchronous standby", "local",
            setting.remedy("on"),
        )  # fmt: skip
    short = [queue.queue for queue in facts.queues if queue.heartbeat.total_seconds() < limits.failover]
    if facts.patroni and short:
        yield warning(
            f"queue{'s' * (len(short) > 1)} {', '.join(map(repr, short))}: the heartbeat is shorter than the"
            f" {limits.failover:g} s that a failover of Patroni may take by default: tasks that run then are run again",
            short,
            f"underway queue create {short[0]} --heartbeat {limits.failover:g}, or a shorter ttl of Patroni",
        )
    if facts.hosts > 1 and not facts.chooses_host:
        yield warning(
            f"the dsn names {facts.hosts} hosts and no target_session_attrs: this package takes the one that takes"
            " writes, and other programs take the first, even if it is a standby", facts.hosts,
            "add target_session_attrs=read-write to the dsn",
        )  # fmt: skip
