"""Failover: a primary that is frozen, refuses, starts or has been demoted, and the clients and workers that had it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import psycopg_pool
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.chaos.cluster import Cluster, directory, free_port
from tests.py.support import SECONDS, Session, beside, final, listed, wait_until
from tests.py.worker_support import AT_ONCE, listening, messages
from underway_pg import (
    App,
    AsyncClient,
    Client,
    Context,
    DatabaseUnavailable,
    Queue,
    ServerUnresponsive,
    WaitTimeout,
    connections,
    schema,
    statements,
)
from underway_pg.cli.database import query
from underway_pg.connections import alive
from underway_pg.connections.dsn import conninfo
from underway_pg.errors import UnderwayError

READ_ONLY = "cannot execute CREATE TABLE in a read-only transaction"

# Workers that listen: they have begun to, or have asked whether the server still answers.
LISTENERS = """
    select pid from pg_stat_activity
    where application_name like 'underway worker%' and (query like 'listen _underway_ready_%' or query = '')"""

# Seconds beyond its own timeout that a call may take on a busy machine.
MARGIN = 3.0


@dataclass(frozen=True)
class Servers:
    """A primary with its hot standby, and a second primary, as there may be for a moment."""

    primary: Cluster
    standby: Cluster
    other: Cluster


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(directory())
        primary = Cluster(path / "primary", {"fsync": "off"})
        primary.start()
        stack.callback(primary.kill)
        schema.migrate(primary.dsn)
        with Client(primary.dsn) as client:
            client.create_queue(Queue(name="q"))
        standby = stack.enter_context(primary.standby(path / "standby", primary.port))
        other = stack.enter_context(primary.standby(path / "other", primary.port))
        with other.connect() as connection:
            connection.execute("select pg_promote(true, 60)")
        yield Servers(primary, standby, other)


def processes(server: Cluster) -> list[int]:
    """The postmaster and its children."""
    postmaster = (server.data / "postmaster.pid").read_text().split()[0]
    found = [int(postmaster)]
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if path.read_text().rpartition(")")[2].split()[1] == postmaster:
                found.append(int(path.parent.name))
    return found


@contextlib.contextmanager
def frozen(server: Cluster) -> Iterator[None]:
    """Stop all processes of a server with SIGSTOP, and continue them at the end."""
    stopped = processes(server)
    try:
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        yield
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)


def dsn_of(*ports: int, **options: object) -> str:
    """A dsn of several hosts. An address, because a name may have several, each of which is tried."""
    hosts = ",".join(["127.0.0.1"] * len(ports))
    words = "".join(f" {name}={value}" for name, value in options.items())
    return f"host={hosts} port={','.join(map(str, ports))} user=postgres dbname=postgres{words}"


def tasks(server: Cluster) -> int:
    with server.connect() as connection:
        return connection.execute("select count(*) from underway.task").fetchall()[0][0]


# A standby


def test_what_people_read_can_be_read_on_a_standby(servers: Servers) -> None:
    calls = [
        "select * from underway.queue_stats",
        "select * from underway.queue_list",
        "select * from underway.worker_stats",
        "select * from underway.schedule_stats",
        "select * from underway.task_list",
        "select underway.stats()",
        "select underway.find_tasks()",
        "select * from underway.stats_total",
        "select underway.database_health()",
    ]
    refused: list[str] = []
    with servers.standby.connect() as connection:
        for call in calls:
            with listed(refused, call):
                try:
                    connection.execute(call.encode())
                except psycopg.Error as error:
                    raise AssertionError(error) from error
    assert not refused, "\n".join(refused)


# Hosts


def test_of_several_hosts_the_one_that_takes_writes_is_chosen_unless_the_dsn_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chosen(dsn: str) -> object:
        return conninfo_to_dict(conninfo(dsn, "test")).get("target_session_attrs")

    assert chosen("host=one,two") == "read-write"
    assert chosen("host=one") is None
    assert chosen("host=one,two target_session_attrs=prefer-standby") == "prefer-standby"
    monkeypatch.setenv("PGHOST", "one,two")
    assert chosen("dbname=app") == "read-write"
    assert chosen("dbname=app host=one") is None
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "any")
    assert chosen("host=one,two") is None


def test_the_hosts_of_a_dsn_share_the_timeout_of_a_call() -> None:
    def connect_timeout(dsn: str, timeout: float | None) -> object:
        return conninfo_to_dict(conninfo(dsn, "test", timeout))["connect_timeout"]

    assert connect_timeout("host=one,two", None) == "3"
    assert connect_timeout("host=one,two connect_timeout=20", None) == "20"
    assert connect_timeout("host=one,two,three", 9) == "3"
    assert connect_timeout("host=one,two", 3) == "2"
    assert connect_timeout("host=one,two connect_timeout=2", 9) == "2"


@contextlib.contextmanager
def starting() -> Iterator[int]:
    """The port of a server that is starting up: FATAL 57P03."""
    fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
    answer = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                connection, _ = listener.accept()
                with connection:
                    if connection.recv(8)[4:] == b"\x04\xd2\x16\x2f":
                        connection.sendall(b"N")  # no TLS
                        connection.recv(8)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextlib.contextmanager
def refusing() -> Iterator[int]:
    yield free_port()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("first", [refusing, starting, silent, "standby", "read-only"])
def test_the_next_host_is_tried_when_the_first_takes_no_writes(servers: Servers, first: Any) -> None:
    with contextlib.ExitStack() as stack:
        if callable(first):
            port = stack.enter_context(first())
        elif first == "standby":
            port = servers.standby.port
        else:
            port = servers.other.port
            servers.other.set(default_transaction_read_only="on")
            stack.callback(servers.other.set, default_transaction_read_only="off")
        before = tasks(servers.primary)
        dsn, begun = dsn_of(port, servers.primary.port), time.monotonic()
        with Client(dsn, timeout=4) as client:
            client.enqueue("q", 1)

        async def enqueue() -> None:
            async with AsyncClient(dsn, timeout=4) as client:
                await client.enqueue("q", 2)

        asyncio.run(enqueue())
        assert time.monotonic() - begun < 2 * 4 + MARGIN
        assert tasks(servers.primary) == before + 2


def test_the_error_of_several_hosts_says_how_many_were_tried() -> None:
    with Client(dsn_of(free_port(), free_port())) as client, pytest.raises(DatabaseUnavailable) as error:
        client.queues()
    words = "the database cannot be reached at any of 2 addresses; the last: connection failed: "
    assert str(error.value).startswith(words), error.value


def test_a_server_that_takes_no_writes_is_unavailable(servers: Servers) -> None:
    for target in ("any", "read-write"):
        dsn = dsn_of(servers.standby.port, servers.standby.port, target_session_attrs=target)
        with Client(dsn) as client, pytest.raises(DatabaseUnavailable, match=r"takes no writes|read-only"):
            client.enqueue("q", 1)
        with Client(dsn) as client, pytest.raises(DatabaseUnavailable, match=r"takes no writes|read-only"):
            next(iter(client.events(timeout=1)))


# A frozen primary


def gives_up(call: Callable[[], Any], within: float, error: type[Exception] | tuple[type[Exception], ...]) -> None:
    begun = time.monotonic()
    with pytest.raises(error):
        call()
    assert time.monotonic() - begun < within


def test_a_call_on_a_frozen_server_ends_within_its_timeout_and_the_next_goes_to_the_new_primary(
    servers: Servers,
) -> None:
    dsn = dsn_of(servers.primary.port, servers.other.port)
    before = tasks(servers.other)

    async def enqueue_async() -> None:
        async with AsyncClient(dsn, timeout=3) as client:
            await asyncio.gather(*(client.queues() for _ in range(4)))  # four idle connections
            with frozen(servers.primary):
                began = time.monotonic()
                with pytest.raises(ServerUnresponsive, match=r"no answer for (3|2\.\d+) s"):
                    await client.enqueue("q", 1)
                assert time.monotonic() - began < 3 + MARGIN
                await client.enqueue("q", 1)

    asyncio.run(enqueue_async())
    with Client(dsn, timeout=3) as client:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: client.queues(), range(20)))
        with frozen(servers.primary):
            gives_up(lambda: client.enqueue("q", 1), 3 + MARGIN, ServerUnresponsive)
            assert client.enqueue("q", 1)  # none of the other idle connections, which lead to the frozen server too
    assert tasks(servers.other) == before + 2


def test_the_other_connections_to_a_server_that_did_not_answer_are_dropped(servers: Servers) -> None:
    with connections.Pool(servers.primary.dsn) as pool:
        with pool.connection(), pool.connection():
            pass
        assert len(pool._idle) == 2
        with pytest.raises(ServerUnresponsive), pool.connection():
            raise ServerUnresponsive
        assert pool._idle == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Servers are soon asked whether they live; the answers."""
    answers: list[bool] = []
    ask = alive._is_alive

    def asked(address: Any) -> bool:
        answers.append(ask(address))
        return answers[-1]

    monkeypatch.setattr(alive, "_is_alive", asked)
    monkeypatch.setattr(alive, "SILENT_AFTER", 0.3)
    monkeypatch.setattr(alive, "_LOOK_EVERY", 0.1)
    monkeypatch.setattr(alive, "_FIRST_BYTE_WITHIN", 0.5)
    return answers


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_call_without_a_timeout_is_given_up_when_its_server_is_frozen_and_not_when_it_waits_for_a_lock(
    servers: Servers, hasty: list[bool], kind: str
) -> None:
    with servers.primary.connect() as connection:
        directory = connection.execute("show unix_socket_directories").fetchall()[0][0].strip('"')
    options = {} if kind == "tcp" else {"host": directory, "port": servers.primary.port}
    dsn = psycopg.conninfo.make_conninfo(dsn_of(servers.primary.port), **options)  # type: ignore[arg-type]

    def enqueue_async() -> None:
        async def main() -> None:
            async with AsyncClient(dsn) as client:
                await client.enqueue("q", 1)

        asyncio.run(main())

    def command() -> None:
        query(dsn, statements.create_queue(Queue(name="of the command")))

    with ThreadPoolExecutor(3) as threads, Client(dsn) as client, Session(servers.primary.dsn) as session:
        client.queues()
        session.run("begin")
        session.run("lock table underway.task, underway.queue in access exclusive mode")
        calls = [threads.submit(call) for call in (lambda: client.enqueue("q", 1), enqueue_async, command)]
        wait_until(lambda: hasty.count(True) >= 6, "the server was asked about each call twice, and answered")
        assert not any(call.done() for call in calls)
        with frozen(servers.primary):
            for call in calls:
                with pytest.raises(ServerUnresponsive, match="none to a new connection"):
                    call.result(SECONDS)
        session.run("rollback")
        assert client.enqueue("q", 1)


def test_waiting_for_a_task_ends_within_its_timeout_on_a_frozen_server(servers: Servers) -> None:
    ended = (WaitTimeout, DatabaseUnavailable)
    with Client(servers.primary.dsn) as client:
        id = client.enqueue("q", 1)
        with frozen(servers.primary):
            gives_up(lambda: client.wait_for(id, timeout=1), 1 + MARGIN, ended)
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(client.wait_for, id, timeout=2)
            wait_until(lambda: client._waits._connection, "it listens")
            with frozen(servers.primary):
                gives_up(lambda: waiting.result(SECONDS), 2 + MARGIN, ended)


def test_a_worker_goes_on_at_the_new_primary_while_the_old_one_is_frozen_and_after_it(servers: Servers) -> None:
    dsn = dsn_of(servers.primary.port, servers.other.port)
    queue = Queue(name="failing over", retry=AT_ONCE, heartbeat=10)
    app = App(dsn, queues=[queue])

    ports: list[int] = []  # where handlers had their transactions

    @app.job(queue="failing over")
    def work(context: Context) -> None:
        with context.transaction() as connection:
            ports.append(connection.info.port)

    @app.job(queue="failing over")
    def long(context: Context) -> None:
        context.wait_cancelled(60)

    # The new primary has what the old one had: the queue, and a task.
    with App(servers.other.dsn, queues=[queue]) as new, Session(servers.other.dsn) as session:
        job = new.job(queue="failing over", name="work")(lambda: None)
        new.sync()
        settings = {"silent_after": 0.5, "poll_interval": 0.2, "concurrency": 4, "shutdown_timeout": 1}
        with app, beside(app.worker(**settings)) as worker:
            long.enqueue()  # its lease is renewed, at the old primary too if that goes on in time
            final(app, work.enqueue(), worker)
            assert ports == [servers.primary.port]
            with frozen(servers.primary):
                id = job.enqueue()
                worker.until(lambda: session.state(id) == "succeeded", "it works at the new primary", seconds=30)
                worker.until(lambda: session.column(LISTENERS), "it listens there")
            id = job.enqueue()
            worker.until(lambda: session.state(id) == "succeeded", "it stays there")
            assert ports == [servers.primary.port, servers.other.port, servers.other.port]


# A server that takes no writes any more


def demote(connection: psycopg.Connection[Any]) -> None:
    """Make a session take no writes, as those of a former primary do."""
    connection.execute("set default_transaction_read_only = on")


def test_a_former_primary_costs_no_call(servers: Servers) -> None:
    dsn = servers.primary.dsn
    with Client(dsn) as client:
        with client._pool.connection() as connection:
            demote(connection)
        assert client.enqueue("q", 1)
    with psycopg_pool.ConnectionPool(dsn, min_size=1, max_size=1, open=True, kwargs={"autocommit": True}) as pool:
        with pool.connection() as connection:
            demote(connection)
        assert Client(pool=pool).enqueue("q", 1)

    async def main() -> None:
        async with AsyncClient(dsn) as client:
            async with client._pool.connection() as connection:
                await connection.execute("set default_transaction_read_only = on")
            assert await client.enqueue("q", 1)

    asyncio.run(main())


def test_waiting_and_reading_events_go_on_over_another_connection_after_a_demotion(servers: Servers) -> None:
    with Client(servers.primary.dsn, poll_interval=0.05) as client, ThreadPoolExecutor(1) as thread:
        id = client.enqueue("q", 1)
        waiting = thread.submit(client.wait_for_many, [id], timeout=SECONDS)
        first = wait_until(lambda: client._waits._connection, "it listens")
        demote_through(first, servers)
        wait_until(lambda: client._waits._connection not in (None, first), "it has another connection")
        client.cancel(id)
        assert waiting.result(SECONDS)[id].state == "cancelled"


def demote_through(connection: psycopg.Connection[Any], servers: Servers) -> None:
    """Make the session of a connection that is in use take no writes, and no others."""
    servers.primary.set(default_transaction_read_only="on")
    try:
        wait_until(
            lambda: connection.closed or connection.info.parameter_status("default_transaction_read_only") == "on",
            "the session has heard of it",
        )
    finally:
        servers.primary.set(default_transaction_read_only="off")


def test_a_handler_that_met_a_former_primary_is_tried_again_over_another_connection(servers: Servers) -> None:
    app = App(servers.primary.dsn, queues=[Queue(name="demoted", retry=AT_ONCE)])

    @app.job(queue="demoted")
    def work(context: Context, demoting: bool) -> None:
        with context.transaction() as connection:
            connection.execute("create table if not exists of_handlers ()")
            if demoting:
                connection.execute("set session characteristics as transaction read only")

    with app:
        app.sync()
        with beside(app.worker()) as worker:
            assert final(app, work.enqueue(demoting=True), worker).state == "succeeded"
            task = final(app, work.enqueue(demoting=False), worker)
            assert (task.state, task.attempt, messages(task)) == ("succeeded", 2, [READ_ONLY])


def test_a_listener_at_a_former_primary_connects_again(servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
    app = App(servers.primary.dsn, queues=[Queue(name="listening")])

    @app.job(queue="listening")
    def work() -> None:
        pass

    hosts = [servers.standby.port, servers.primary.port]
    with (
        app,
        Session(servers.primary.dsn) as session,
        beside(app.worker(listen_dsn=lambda: dsn_of(*hosts, target_session_attrs="any"))) as worker,
    ):
        worker.until(lambda: "cannot execute LISTEN during recovery" in caplog.text, "it may not listen at a standby")
        hosts.reverse()
        listening(session, worker)
        assert final(app, work.enqueue(), worker).state == "succeeded"


def test_the_errors_are_those_of_the_package() -> None:
    assert issubclass(DatabaseUnavailable, UnderwayError)
    assert connections.is_outage(psycopg.errors.ReadOnlySqlTransaction())
