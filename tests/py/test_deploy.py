"""The files in deploy/ fit together, and the tools that are installed accept them."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from underway_pg.cli import worker

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
MANIFESTS = [each for path in (DEPLOY / "kubernetes").glob("*.yaml") for each in yaml.safe_load_all(path.read_text())]
UNIT = DEPLOY / "systemd/shop-worker.service"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in MANIFESTS:
        if "template" in manifest["spec"]:
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


def settings_of_workers() -> list[dict[str, str]]:
    """The settings that each of the files gives to its worker, by their names in the environment."""
    (pod,) = (pod for name, pod in pods() if name == "shop-worker")
    kubernetes = {each["name"]: each.get("value", "") for each in pod["containers"][0]["env"]}
    compose = {name: str(value) for name, value in COMPOSE["services"]["worker"]["environment"].items()}
    return [kubernetes, compose]


def test_workers_are_given_settings_that_exist() -> None:
    known = {f"UNDERWAY_WORKER_{name.upper()}" for name in worker.worker.__annotations__} | {"DATABASE_URL"}
    for settings in settings_of_workers():
        assert settings.keys() <= known


def test_workers_are_killed_later_than_their_shutdown_timeout_plus_ten_seconds() -> None:
    unit = UNIT.read_text()
    (pod,) = (pod for name, pod in pods() if name == "shop-worker")
    kubernetes, compose = (int(each["UNDERWAY_WORKER_SHUTDOWN_TIMEOUT"]) for each in settings_of_workers())
    (systemd,) = re.findall(r"--shutdown-timeout (\d+)", unit)
    assert pod["terminationGracePeriodSeconds"] > kubernetes + 10
    assert seconds(COMPOSE["services"]["worker"]["stop_grace_period"]) > compose + 10
    assert int(re.findall(r"^TimeoutStopSec=(\d+)", unit, re.M)[0]) > int(systemd) + 10


def test_web_servers_are_killed_later_than_their_timeout() -> None:
    (timeout,) = re.findall(r'"--timeout-graceful-shutdown", "(\d+)"', DOCKERFILE)
    (pod,) = (pod for name, pod in pods() if name == "shop-web")
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > int(timeout) + pause
    assert seconds(COMPOSE["services"]["web"]["stop_grace_period"]) > int(timeout)


def test_health_is_asked_for_where_it_is_served() -> None:
    for _, pod in pods():
        for container in pod["containers"]:
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
            probes = [container[name] for name in container if name.endswith("Probe")]
            assert {probe["httpGet"]["port"] for probe in probes} <= ports.keys()
            health = {each["name"]: each.get("value") for each in container["env"]}.get("UNDERWAY_WORKER_HEALTH_PORT")
            assert health is None or int(health) == ports["health"]
    compose = COMPOSE["services"]["worker"]
    assert f":{compose['environment']['UNDERWAY_WORKER_HEALTH_PORT']}/live" in compose["healthcheck"]["test"][-1]


def test_manifests_select_their_own_pods_which_are_not_root() -> None:
    for manifest in MANIFESTS:
        selector = manifest["spec"].get("selector", {})
        labels = selector.get("matchLabels", selector)
        owner = next(each for each in MANIFESTS if each["metadata"]["name"] == manifest["metadata"]["name"])
        assert labels.items() <= owner["spec"]["template"]["metadata"]["labels"].items()
    for _, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
    assert re.findall(r"^USER (.*)", DOCKERFILE, re.M)[-1].isdigit()  # runAsNonRoot needs a number


def test_the_image_copies_what_exists_and_starts_without_a_shell() -> None:
    context = ROOT / "examples/fastapi_shop"
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M):
        assert [word for word in shlex.split(sources) if "*" not in word and not (context / word).exists()] == []
    (command,) = re.findall(r"^CMD (.*)", DOCKERFILE, re.M)
    assert json.loads(command)[0] == "uvicorn"


def test_compose_builds_the_image_and_starts_services_in_an_order_that_exists() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        assert service.get("depends_on", {}).keys() <= services.keys()
        if build := service.get("build"):
            context = (DEPLOY / build["context"]).resolve()
            assert (context / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


@pytest.mark.thorough
def test_the_tools_that_are_installed_accept_the_files(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze"):
        unit = tmp_path / UNIT.name
        unit.write_text(UNIT.read_text().replace("/opt/shop/venv/bin", str(Path(sys.executable).parent)))
        ended = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, "")
    if shutil.which("docker") and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        ended = subprocess.run(
            ["docker", "compose", "--file", DEPLOY / "compose.yaml", "config", "--quiet"],
            capture_output=True,
            text=True,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
