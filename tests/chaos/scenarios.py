"""The scenarios: what goes wrong while four workers work. Each runs with a snapshot held open."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping

import psycopg

from tests.chaos.arena import Arena, Outcome, Scale, run
from tests.chaos.cluster import Cluster, directory
from tests.chaos.pgbouncer import pgbouncer
from tests.chaos.proxy import Proxy
from tests.chaos.workload import HEARTBEAT
from tests.debian import library
from tests.py.support import wait_until

Scenario = Callable[[str, Scale], Outcome]


@contextlib.contextmanager
def cluster(**settings: str) -> Iterator[Cluster]:
    with directory() as path:
        server = Cluster(path / "data", settings)
        server.start()
        try:
            yield server
        finally:
            server.kill()  # sooner than a checkpoint


def calm(name: str, scale: Scale) -> Outcome:
    """Nothing but the snapshot that is held open: what the others have to come up to."""
    with cluster() as server:
        return run(name, scale, lambda arena: None, cluster=server)


def kill_workers(name: str, scale: Scale) -> Outcome:
    """`kill -9` of workers at random; another is started for each."""

    def trouble(arena: Arena) -> None:
        for _ in arena.rounds(every=0.7):
            arena.workers.kill(arena.random.choice(arena.workers.running))
            arena.workers.start()
            arena.counts["workers killed"] += 1

    with cluster() as server:
        return run(name, scale, trouble, cluster=server)


def stop_workers(name: str, scale: Scale) -> Outcome:
    """SIGSTOP of workers until past their leases, then SIGCONT: the late holders are refused."""

    def trouble(arena: Arena) -> None:
        for _ in arena.rounds(every=0.5):
            stopped = arena.random.sample(arena.workers.running, 3)
            for worker in stopped:
                worker.send_signal(signal.SIGSTOP)
            arena.last(HEARTBEAT)
            for worker in stopped:
                # About when the others have their tasks, and are not done yet.
                arena.last(0.4 * arena.random.random())
                worker.send_signal(signal.SIGCONT)
                arena.counts["workers stopped and continued"] += 1

    with cluster() as server:
        return run(name, scale, trouble, cluster=server)


def terminate_sessions(name: str, scale: Scale) -> Outcome:
    """`pg_terminate_backend` of sessions of workers and producer at random, ten times a second."""

    def trouble(arena: Arena) -> None:
        with arena.cluster.connect() as connection:
            for _ in arena.rounds(every=0.1):
                ended = connection.execute(
                    """select pg_terminate_backend(pid) from pg_stat_activity
                    where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name <> 'snapshot'
                    order by random() limit 1"""
                )
                arena.counts["sessions terminated"] += len(ended.fetchall())

    with cluster() as server:
        return run(name, scale, trouble, cluster=server)


def restart_server(name: str, scale: Scale) -> Outcome:
    """Immediate shutdowns of PostgreSQL, each with a recovery."""

    def trouble(arena: Arena) -> None:
        for _ in arena.rounds(every=1.5):
            arena.cluster.kill()
            arena.last(0.3)
            arena.cluster.start()
            arena.counts["restarts"] += 1

    with cluster() as server:
        return run(name, scale, trouble, cluster=server)


def black_hole(name: str, scale: Scale) -> Outcome:
    """Connections fall silent without being closed. Some speak again, late; the others never do."""
    with cluster() as server, Proxy(server.dsn) as proxy:

        def trouble(arena: Arena) -> None:
            for number, _ in enumerate(arena.rounds(every=5.0)):
                proxy.fall_silent()
                arena.last(1.5 * HEARTBEAT)
                proxy.speak(of_old=number % 2 == 1)
                arena.counts["silences"] += 1

        return run(name, scale, trouble, cluster=server, dsn=proxy.dsn)


def exhausted_connections(name: str, scale: Scale) -> Outcome:
    """All connections of the server are taken, and those of the workers are terminated."""

    def trouble(arena: Arena) -> None:
        with arena.cluster.connect() as connection:
            for _ in arena.rounds(every=0.5):
                with contextlib.ExitStack() as taken:
                    connection.execute(
                        """select pg_terminate_backend(pid) from pg_stat_activity
                        where backend_type = 'client backend' and pid <> pg_backend_pid()
                          and application_name <> 'snapshot'"""
                    )
                    with contextlib.suppress(psycopg.OperationalError):
                        while True:
                            taken.enter_context(psycopg.connect(arena.cluster.dsn))
                    arena.last(1.0)
                    arena.counts["times without a connection"] += 1

    with cluster(max_connections="60") as server:
        return run(name, scale, trouble, cluster=server)


def wrong_clocks(name: str, scale: Scale) -> Outcome:
    """The clocks of two workers are an hour fast and those of two an hour slow; some are killed."""
    preload = str(library("faketime/libfaketime.so.1", "libfaketime"))

    def clock(offset: str) -> Mapping[str, str]:
        return {"LD_PRELOAD": preload, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def trouble(arena: Arena) -> None:
        for number, _ in enumerate(arena.rounds(every=1.5)):
            arena.workers.kill(arena.random.choice(arena.workers.running))
            arena.workers.start(clock("+3600s" if number % 2 else "-3600s"))
            arena.counts["workers killed"] += 1

    with cluster() as server:
        clocks = [clock("+3600s"), clock("-3600s"), clock("+3600s"), clock("-3600s")]
        return run(name, scale, trouble, cluster=server, environments=clocks)


def full_disk(name: str, scale: Scale) -> Outcome:
    """Inserts into the tables of tasks are refused with `disk_full` (a trigger does it), and then taken again."""

    def trouble(arena: Arena) -> None:
        with arena.cluster.connect() as connection:
            for _ in arena.rounds(every=0.5):
                connection.execute("update chaos.disk set is_full = true")
                arena.last(0.7)
                connection.execute("update chaos.disk set is_full = false")
                arena.counts["times without room"] += 1

    with cluster() as server:
        return run(name, scale, trouble, cluster=server)


def pooler(name: str, scale: Scale) -> Outcome:
    """Workers and producer behind PgBouncer in transaction mode; some workers are killed."""

    def trouble(arena: Arena) -> None:
        for _ in arena.rounds(every=1.5):
            arena.workers.kill(arena.random.choice(arena.workers.running))
            arena.workers.start()
            arena.counts["workers killed"] += 1

    with cluster() as server, pgbouncer(server.port) as pooled:
        pooled.wait()
        return run(name, scale, trouble, cluster=server, dsn=pooled.dsn)


def synchronous_standby(name: str, scale: Scale) -> Outcome:
    """The primary dies, and its synchronous standby is promoted: nothing that was acknowledged is lost."""
    return _failover(name, scale, synchronous=True)


def asynchronous_standby(name: str, scale: Scale) -> Outcome:
    """The primary dies while its standby is behind: what was acknowledged since then is lost, and no more."""
    return _failover(name, scale, synchronous=False)


def _failover(name: str, scale: Scale, *, synchronous: bool) -> Outcome:
    with (
        directory() as path,
        cluster() as primary,
        Proxy(primary.dsn) as proxy,
        primary.standby(path / "standby", proxy.port) as standby,
    ):
        if synchronous:
            primary.set(synchronous_standby_names="*")
        wait_until(lambda: _streams(primary, "sync" if synchronous else "async"), "the standby follows", seconds=60.0)

        def trouble(arena: Arena) -> None:
            arena.last(arena.scale.trouble / 2)
            if not synchronous:
                # A busy standby is behind at any time: what was acknowledged until now it has to have first.
                with arena.cluster.connect() as connection:
                    arena.lossy_after = time.monotonic()
                    row = connection.execute("select pg_current_wal_lsn()").fetchone()
                    has_it = "select 1 from pg_stat_replication where flush_lsn >= %s::text::pg_lsn"
                    wait_until(
                        lambda: connection.execute(has_it, row).fetchall(),
                        "the standby has all until now",
                        seconds=60.0,
                    )
                proxy.fall_silent()  # towards the standby alone
                arena.last(0.5)
            primary.kill()
            arena.cluster = standby
            with arena.cluster.connect() as connection:
                connection.execute("select pg_promote(true, 60)")
            arena.counts["promotions"] += 1

        hosts = f"localhost:{primary.port},localhost:{standby.port}"
        dsn = f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"
        return run(name, scale, trouble, cluster=primary, dsn=dsn)


def _streams(primary: Cluster, state: str) -> bool:
    with primary.connect() as connection:
        states = connection.execute("select sync_state from pg_stat_replication").fetchall()
    return states == [(state,)]


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        calm, kill_workers, stop_workers, terminate_sessions, restart_server, black_hole, exhausted_connections,
        wrong_clocks, full_disk, pooler, synchronous_standby, asynchronous_standby,
    )
}  # fmt: skip
