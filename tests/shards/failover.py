"""Scenarios of failover: the primary is lost under load, and every task that was acknowledged is accounted for."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos import ledger
from tests.chaos.arena import Workers
from tests.chaos.cluster import directory, free_port
from tests.chaos.pgbouncer import pgbouncer
from tests.py.support import wait_until
from tests.shards.patroni import TTL, Node, Patroni, patroni
from tests.shards.work import HEARTBEAT, TIMEOUT, ClientProducer, Producer, TransactionProducer, application
from underway_pg import schema

# Seconds. How long a call of a producer may take beyond its timeout, on a busy machine.
MARGIN = 3.0

# A frozen node goes on after so many seconds: its leader's key has lapsed, and another server is the primary.
FROZEN_FOR = TTL + 11.0


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How many tasks, over how many seconds, and after how many of these the primary is lost."""

    tasks: int
    seconds: float
    lost_after: float
    workers: int = 2


SHORT = Scale(tasks=1_000, seconds=8.0, lost_after=2.0, workers=1)
LONG = Scale(tasks=20_000, seconds=75.0, lost_after=20.0)


@dataclass(kw_only=True)
class Outcome:
    """What a scenario came to. Times are in seconds since the primary was lost."""

    name: str
    acknowledged: int = 0
    lost: int = 0
    run_twice: int = 0
    finished_twice: int = 0
    unacknowledged: int = 0
    writable: float = 0.0
    first_task: float = 0.0
    longest_call: float = 0.0
    complaints: list[str] = field(default_factory=list)


class Lost:
    """The primary, to lose; and the moments of it."""

    def __init__(self, cluster: Patroni) -> None:
        self.cluster = cluster
        self.node = cluster.primary()
        self.at = 0.0
        self.writable_at = 0.0
        self.switch = 0  # where the WAL of the new primary leaves that of the old one
        self._later: list[threading.Timer] = []

    def lose(self, way: Callable[[Lost], None]) -> None:
        """Lose it, and wait for the new one."""
        self.at = time.monotonic()
        way(self)
        others = [node for node in self.cluster.nodes if node is not self.node]
        new = wait_until(
            lambda: next((node for node in others if node.is_writable()), None), "another takes writes", seconds=120.0
        )
        assert new is not None
        self.writable_at = time.monotonic()
        self.switch = _switch(new)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call a function in a thread, and wait for it at the end."""
        timer = threading.Timer(seconds, call)
        timer.start()
        self._later.append(timer)

    def join(self) -> None:
        for timer in self._later:
            timer.join()


def _switch(node: Node) -> int:
    """Where the timeline of a new primary begins: the end of what it had received."""
    with psycopg.connect(node.dsn) as connection:
        history = connection.execute(
            "select pg_read_file('pg_wal/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '.history')"
        ).fetchall()[0][0]
        position = history.strip().splitlines()[-1].split()[1]
        return int(connection.execute("select %s::pg_lsn - '0/0'", [position]).fetchall()[0][0])


# Ways to lose a primary


def kill_server(lost: Lost) -> None:
    """`kill -9` of all processes of the server. Patroni lives, and gives up the leader's key."""
    lost.node.send(signal.SIGKILL, patroni=False)


def kill_node(lost: Lost) -> None:
    """`kill -9` of the server and of its Patroni: the leader's key has to lapse."""
    lost.node.send(signal.SIGKILL, patroni=True)


def freeze_node(lost: Lost) -> None:
    """SIGSTOP of the server and its Patroni, beyond the ttl; then SIGCONT."""
    lost.node.send(signal.SIGSTOP, patroni=True)
    lost.later(FROZEN_FOR, lambda: lost.node.send(signal.SIGCONT, patroni=True))


def switchover(lost: Lost) -> None:
    """Patroni makes another server the primary, and the primary a standby."""
    lost.node.rest("switchover", leader=lost.node.name)


def kill_ahead_of_standbys(lost: Lost) -> None:
    """`kill -9` of server and Patroni while the standbys receive nothing: what was acknowledged since is lost."""
    proxy = lost.node.replication
    assert proxy is not None
    proxy.fall_silent()
    threading.Event().wait(0.5)
    lost.at = time.monotonic()
    kill_node(lost)


def run(
    name: str,
    scale: Scale,
    way: Callable[[Lost], None],
    *,
    synchronous: bool = True,
    pooled: bool = False,
    counted: bool = False,
) -> Outcome:
    """Lose the primary under load. `pooled`: all through PgBouncer. `counted`: what is lost has to be what was not
    received by the standbys; otherwise nothing may be lost.
    """
    with contextlib.ExitStack() as stack:
        port = free_port()
        pooler = stack.enter_context(pgbouncer(port)) if pooled else None
        cluster = stack.enter_context(patroni(synchronous=synchronous, lagging=counted, pooler=pooler, port=port))
        files = stack.enter_context(directory())
        if keep := os.environ.get("UNDERWAY_CHAOS_KEEP"):
            stack.callback(_keep, Path(keep) / name, cluster.logs, files)
        with cluster.connect() as connection:
            schema.migrate(cluster.primary().dsn)
            with application(cluster.dsn) as app:
                app.sync()
            connection.execute("checkpoint")
        if pooler is not None:
            pooler.wait()
        dsn = cluster.dsn if pooler is None else pooler.dsn
        workers = Workers(dsn, files, {"HEARTBEAT": str(HEARTBEAT)}, program="tests.shards.work")
        stack.callback(workers.end)
        for _ in range(scale.workers):
            workers.start()
        wait_until(lambda: _value(cluster, "select count(*) from underway.worker") == scale.workers, "they are there")
        producer = (TransactionProducer if counted else ClientProducer)(dsn, scale.tasks, scale.seconds)
        stack.callback(producer.stopping.set)
        producer.start()
        threading.Event().wait(scale.lost_after)
        lost = Lost(cluster)
        lost.lose(way)
        producer.join(scale.seconds + 120.0)
        lost.join()
        live = "select count(*) from underway.task"
        complaints = []
        try:
            wait_until(lambda: _value(cluster, live) == 0, "every task is final", seconds=HEARTBEAT + 60.0)
        except AssertionError as error:
            complaints.append(str(error))
        workers.stop()
        with cluster.connect() as connection:
            finished = connection.execute(
                "select (input ->> 'n')::int, state::text from underway.task_history"
            ).fetchall()
        outcome = _account(name, lost, producer, finished, list(ledger.lines(files)), counted=counted)
        outcome.complaints += complaints + workers.complaints
        return outcome


def _account(
    name: str,
    lost: Lost,
    producer: Producer,
    finished: list[tuple[int, str]],
    lines: list[dict[str, Any]],
    *,
    counted: bool,
) -> Outcome:
    acknowledged = {number: each for each in producer.acknowledged for number in each.numbers}
    there = Counter(number for number, _ in finished)
    runs = Counter(line["n"] for line in lines if line["what"] == "begin")
    missing = acknowledged.keys() - there.keys()
    begun = [line["at"] for line in lines if line["what"] == "begin" and line["at"] >= lost.writable_at]
    outcome = Outcome(
        name=name,
        acknowledged=len(acknowledged),
        lost=len(missing),
        run_twice=sum(times > 1 for number, times in runs.items()),
        finished_twice=sum(times > 1 for times in there.values()),
        unacknowledged=len(there.keys() - acknowledged.keys()),
        writable=lost.writable_at - lost.at,
        first_task=min(begun, default=float("inf")) - lost.at,
        longest_call=max(producer.gave_up, default=0.0),
    )
    complain = outcome.complaints.append
    if producer.error is not None:
        complain(f"the producer ended: {producer.error!r}")
    if producer.is_alive():
        complain("the producer has not ended")
    if outcome.finished_twice:
        complain(f"{outcome.finished_twice} tasks were finished twice")
    if wrong := Counter(state for _, state in finished if state != "succeeded"):
        complain(f"ended otherwise: {dict(wrong)}")
    if never := sum(number not in runs for number in there):
        complain(f"{never} tasks have succeeded, and never ran")
    if counted:
        early = [number for number in missing if _received(acknowledged[number], lost) is True]
        late = [number for number in there if number in acknowledged and _received(acknowledged[number], lost) is False]
        if early:
            complain(f"{len(early)} tasks were lost that the new primary had received")
        if late:
            complain(f"{len(late)} tasks were not received by the new primary, and are there")
        return outcome
    if missing:
        complain(f"{len(missing)} tasks that were acknowledged are lost: {sorted(missing)[:5]}")
    if outcome.run_twice:
        complain(f"{outcome.run_twice} tasks ran twice")
    if outcome.longest_call > TIMEOUT + MARGIN:
        complain(f"a call of the producer took {outcome.longest_call:.1f} s, with a timeout of {TIMEOUT:g} s")
    return outcome


def _received(each: Any, lost: Lost) -> bool | None:
    """Whether the new primary had received a commit of the old one; None where the positions do not tell."""
    if each.at >= lost.writable_at or each.after <= lost.switch:
        return True
    return False if each.before >= lost.switch else None


def _value(cluster: Patroni, sql: str) -> int:
    with contextlib.suppress(psycopg.OperationalError), cluster.connect() as connection:
        return int(connection.execute(sql.encode()).fetchall()[0][0])
    return -1


def _keep(target: Path, *directories: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for each in directories:
        for file in each.glob("*.[lj]*"):
            (target / file.name).write_bytes(file.read_bytes())


SCENARIOS: dict[str, Callable[[str, Scale], Outcome]] = {
    "kill_server": lambda name, scale: run(name, scale, kill_server),
    "kill_node": lambda name, scale: run(name, scale, kill_node),
    "freeze_node": lambda name, scale: run(name, scale, freeze_node),
    "switchover": lambda name, scale: run(name, scale, switchover),
    "pooled_kill_server": lambda name, scale: run(name, scale, kill_server, pooled=True),
    "pooled_freeze_node": lambda name, scale: run(name, scale, freeze_node, pooled=True),
    "asynchronous": lambda name, scale: run(name, scale, kill_ahead_of_standbys, synchronous=False, counted=True),
}


def row(outcome: Outcome) -> str:
    """A row of the table."""
    values = asdict(outcome)
    numbers = [f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" for value in list(values.values())[1:-1]]
    return f"| {outcome.name} | " + " | ".join([*numbers, "; ".join(outcome.complaints) or "none"]) + " |"
