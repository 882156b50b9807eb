"""Test the package with the lowest versions of its dependencies that pyproject.toml allows.

    python tools/floors.py          in an environment below .cache, which is made when the bounds have changed
    python tools/floors.py --list   only print the versions

A lower bound that nobody has tried is a guess: it breaks for the user whose other packages hold a version back.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".cache/floors"
# The extras with packages that the tests below import.
EXTRAS = ("binary", "cli", "dashboard", "embedded", "metrics", "opentelemetry", "reload", "sentry", "uvloop")
TOOLS = ("hypothesis", "pytest", "pytest-xdist", "pyyaml", "testcontainers[postgres]", "types-croniter", "httpx2")
# Calls of each dependency: arguments and outputs of jobs, connections and pools, commands and their tables, workers.
TESTS = (
    "tests/py/test_arguments.py",
    "tests/py/test_cli.py",
    "tests/py/test_clients.py",
    "tests/py/test_cron.py",
    "tests/py/test_dsn.py",
    "tests/py/test_exports.py",
    "tests/py/test_jobs.py",
    "tests/py/test_outputs.py",
    "tests/py/worker/test_handlers.py",
    "tests/py/worker/test_transactions.py",
)


def floors() -> list[str]:
    """The lowest version of each dependency and of the extras' packages: `name==version`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(each for extra in EXTRAS for each in project["optional-dependencies"][extra])]
    found = {}
    for requirement in wanted:
        match = re.fullmatch(r"([\w.-]+)(\[[\w,-]+\])?>=([\w.]+)", requirement)
        if match is None:
            sys.exit(f"pyproject.toml: {requirement!r} has no lower bound; write name>=version")
        found[match[1]] = match[3]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def make_environment(pins: list[str]) -> Path:
    """The Python of an environment with these versions; made again if they, or our other packages, have changed."""
    python = ENVIRONMENT / "bin/python"
    tools = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if re.split(r"[=\[]", line)[0] in TOOLS]
    made_for = "\n".join([*pins, *tools, *TOOLS])
    stamp = ENVIRONMENT / "made-for"
    if not stamp.exists() or stamp.read_text() != made_for:
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        constraints = ENVIRONMENT / "constraints.txt"
        constraints.write_text("\n".join([*pins, *tools]) + "\n")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", constraints]
        subprocess.run([*install, "-e", f"{ROOT}[{','.join(EXTRAS)}]", *TOOLS], check=True)
        stamp.write_text(made_for)
    return python


def main() -> None:
    pins = floors()
    if "--list" in sys.argv:
        print(*pins, sep="\n")
        return
    python = make_environment(pins)
    sys.exit(subprocess.run([python, "-m", "pytest", "-q", "-n", "2", *TESTS], cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
