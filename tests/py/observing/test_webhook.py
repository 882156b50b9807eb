"""`underway events`: lines for people and programs, and webhooks that survive receivers that do not."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import forks
from tests.py.support import SECONDS, Session, wait_until
from underway_pg import Event
from underway_pg.cli import main
from underway_pg.cli.errors import WrongUsage
from underway_pg.cli.webhook import NotDelivered, Webhook

ROOT = Path(__file__).resolve().parents[3]


class Receiver:
    """A server that answers with these statuses, one after the other, and then with 200."""

    def __init__(self, *statuses: int, headers: dict[str, str] | None = None) -> None:
        self.statuses = list(statuses)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                if status == 0:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, format: str, *arguments: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook/T0KEN"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


EVENT = Event(
    id=7, at=datetime(2030, 1, 31, 9, tzinfo=UTC), kind="task_failed", queue="mail", job="send", task=3,
    details={"message": "no ink ☃"},
)  # fmt: skip


def test_an_event_is_sent_as_json() -> None:
    with Receiver() as receiver:
        Webhook(receiver.url).deliver(EVENT)
    ((headers, body),) = receiver.requests
    assert json.loads(body) == {
        "type": "task_failed",
        "timestamp": "2030-01-31T09:00:00+00:00",
        "data": {
            "id": 7, "at": "2030-01-31T09:00:00+00:00", "kind": "task_failed", "queue": "mail", "job": "send",
            "task": 3, "details": {"message": "no ink ☃"},
        },
    }  # fmt: skip
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "underway-7"
    assert "webhook-signature" not in headers


@pytest.mark.parametrize(
    ("secret", "key"), [("a secret", b"a secret"), ("whsec_" + base64.b64encode(b"\0bytes").decode(), b"\0bytes")]
)
def test_a_request_is_signed(secret: str, key: bytes) -> None:
    with Receiver() as receiver:
        Webhook(receiver.url, secret).deliver(EVENT)
    ((headers, body),) = receiver.requests
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60


def test_a_receiver_that_is_unavailable_gets_the_event_later_under_the_same_id() -> None:
    pauses: list[float] = []
    with Receiver(500, 503, 0, 429, 408) as receiver:
        Webhook(receiver.url, pause=pauses.append).deliver(EVENT)
    assert [headers["webhook-id"] for headers, _ in receiver.requests] == 6 * ["underway-7"]
    assert len(pauses) == 5
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses))


def test_a_receiver_says_when_to_try_again() -> None:
    pauses: list[float] = []
    with Receiver(503, headers={"Retry-After": "77"}) as receiver:
        Webhook(receiver.url, pause=pauses.append).deliver(EVENT)
    assert pauses == [77]


def test_attempts_end() -> None:
    pauses: list[float] = []
    with (
        Receiver(*[500] * 20) as receiver,
        pytest.raises(NotDelivered, match=r"500 Internal Server Error \(attempt 8\)"),
    ):
        Webhook(receiver.url, pause=pauses.append).deliver(EVENT)
    assert len(receiver.requests) == 8
    assert 60 < sum(pauses) < 130


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_an_event_that_is_refused_is_not_sent_again(status: int) -> None:
    with Receiver(status) as receiver, pytest.raises(NotDelivered, match=rf"{status} .* \(attempt 1\)"):
        Webhook(receiver.url, pause=lambda seconds: pytest.fail("it is sent again")).deliver(EVENT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_not_followed(status: int) -> None:
    with Receiver() as other, Receiver(status, headers={"Location": other.url}) as receiver:
        with pytest.raises(NotDelivered, match=f"the answer is {status}"):
            Webhook(receiver.url).deliver(EVENT)
        assert other.requests == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "//host/x", "host/x", "https://", "http://host:port/", "data:,x"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(WrongUsage, match="--webhook"):
        Webhook(url)


def test_a_url_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(WrongUsage, match="use --secret") as caught:
        Webhook("https://user:hunter2@host/")
    assert "hunter2" not in str(caught.value)


# The command


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        yield session


def record(session: Session, kind: str, task: int, **details: Any) -> None:
    session.run("select underway._record_event(%s, 'mail', 'send', %s, %s)", kind, task, json.dumps(details))


def run(capsys: pytest.CaptureFixture[str], database: str, *arguments: str) -> tuple[int, str, str]:
    code = main(["events", "--dsn", database, "--stop-after", "0", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_events_are_printed_for_people_and_as_json(
    database: str, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    record(session, "task_failed", 1, message="no\nink\x1b[2J", attempt=3)
    record(session, "worker_lost", 2)
    code, out, _ = run(capsys, database, "--after", "0")
    first, second = out.splitlines()
    assert code == 0
    assert first.partition(" ")[2].partition(" ")[2] == (
        "1 task_failed queue=mail job=send task=1 attempt=3 message=no ink\\x1b[2J"
    )
    assert "worker_lost" in second
    code, out, _ = run(capsys, database, "--after", "0", "--json", "--kind", "worker_lost")
    (line,) = out.splitlines()
    assert json.loads(line)["task"] == 2


def test_events_go_to_a_webhook_and_those_that_are_refused_are_reported(
    database: str, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    for task in (1, 2, 3):
        record(session, "task_failed", task)
    with Receiver(200, 404) as receiver:
        code, out, err = run(capsys, database, "--after", "0", "--webhook", receiver.url, "--secret", "s")
    assert (code, out) == (0, "")
    assert [json.loads(body)["data"]["task"] for _, body in receiver.requests] == [1, 2, 3]
    assert all("webhook-signature" in headers for headers, _ in receiver.requests)
    assert "event 2 (task_failed) was not delivered to http://127.0.0.1" in err
    assert "the answer is 404" in err
    assert "T0KEN" not in err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--kind", "lost"], "--kind lost: there is no such kind; the kinds are task_failed"),
        (["--webhook", "file:///etc/passwd"], "give a URL that begins with https://"),
        (["--secret", "s"], "--secret needs --webhook"),
        (["--webhook", "http://h/", "--secret", "whsec_?"], "is not base64"),
    ],
)
def test_wrong_usage_is_said(
    database: str, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    code, _, err = run(capsys, database, *arguments)
    assert code == 2
    assert problem in err


def test_the_command_follows_until_it_is_interrupted(database: str, session: Session) -> None:
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            forks.Popen(
                [sys.executable, "-m", "underway_pg", "events", "--json"],
                env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": database},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(process.kill)
        following = (
            "select 1 from pg_stat_activity where query like '%events_after%' and state = 'idle'"
            " and datname = current_database()"
        )
        wait_until(lambda: session.column(following), "it follows", seconds=3 * SECONDS)
        record(session, "task_failed", 5)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["task"] == 5
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
