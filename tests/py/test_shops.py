"""The example shops: their own tests, and their processes as deploy/ starts them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from tests import forks
from tests.py.support import wait_until
from tests.servers import Server

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SECONDS = 60


def environment(**variables: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        forks.CHILDREN: "1",
        **variables,
    }


def run(shop: str, *command: str, **variables: str) -> str:
    """The output of a command in the directory of a shop."""
    ended = forks.run(
        command, cwd=EXAMPLES / shop, env=environment(**variables), capture_output=True, text=True, timeout=SECONDS
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@contextlib.contextmanager
def running(*command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process of the FastAPI shop."""
    process = forks.Popen(
        command,
        cwd=EXAMPLES / "fastapi_shop",
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str], pattern: str) -> str:
    """What the pattern's group matches in a line that the process prints, now or later."""
    assert process.stdout is not None
    said = ""
    for each in process.stdout:
        if match := re.search(pattern, each):
            return match[1]
        said += each
    raise AssertionError(f"no {pattern!r} in: {said}")


@pytest.mark.parametrize("shop", ["fastapi_shop", "flask_shop"])
def test_the_tests_of_a_shop_pass(shop: str, server: Server) -> None:
    said = run(shop, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--underway-server", server.dsn)
    assert re.search(r"^\d+ passed", said, re.M), said


def test_the_fastapi_shop_runs_with_the_commands_of_its_image_and_compose_file(database: str) -> None:
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    (default,) = re.findall(r"^CMD (.*)", (ROOT / "deploy/Dockerfile").read_text(), re.M)
    web_command = [{"0.0.0.0": "127.0.0.1", "8000": "0"}.get(word, word) for word in json.loads(default)]
    settings = {name: str(value) for name, value in services["worker"]["environment"].items()}
    settings |= {"DATABASE_URL": database, "UNDERWAY_WORKER_HEALTH_PORT": "0"}

    run("fastapi_shop", *services["migrate"]["command"], DATABASE_URL=database)
    with (
        running(*web_command, DATABASE_URL=database) as web,
        running(*services["worker"]["command"], **settings) as work,
    ):
        url = line(web, r"running on (http://\S+)")
        order = {"reference": "A-1", "item": "bread", "email": "ferris@example.com"}
        id = httpx2.post(f"{url}/orders", json=order).raise_for_status().json()["id"]
        assert line(work, "(To ferris.*)") == "To ferris@example.com: thank you for ordering bread."
        wait_until(lambda: httpx2.get(f"{url}/orders/{id}").json()["confirmed_at"], "the order is confirmed")
        assert httpx2.get(f"{url}/health").status_code == 200
        for process in (web, work):
            process.terminate()
        assert work.wait(SECONDS) == 0
        assert web.wait(SECONDS) == -signal.SIGTERM  # uvicorn stops in good order and then repeats the signal


def test_the_handlers_of_the_flask_shop_know_their_flask_application(database: str) -> None:
    run("flask_shop", "flask", "--app", "shop", "migrate", DATABASE_URL=database)
    post = "import shop; shop.web.test_client().post('/orders', json={'item': 'bread', 'email': 'ferris@example.com'})"
    run("flask_shop", "python", "-c", post, DATABASE_URL=database)
    said = run("flask_shop", "underway", "worker", "shop:app", "--drain", DATABASE_URL=database)
    assert said == "From shop@example.com to ferris@example.com: thank you for ordering bread.\n"
