"""Test the package with the lowest versions of its dependencies that pyproject.toml allows.

    python tools/floors.py          in an environment below .cache, which is made again when pyproject.toml has changed
    python tools/floors.py --list   only make it, and print the versions

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
# Old versions of one package may warn of new versions of another; and the environment has no ruff.
OPTIONS = (
    "-W", "ignore::DeprecationWarning",
    "--deselect", "tests/py/test_clients.py::test_the_plain_modules_are_generated_from_the_async_ones",
)  # fmt: skip


def make_environment() -> Path:
    """The Python of an environment with the lowest versions; made again if pyproject.toml has changed."""
    python, uv = ENVIRONMENT / "bin/python", ENVIRONMENT / "bin/uv"
    made_for = (
        (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text() + Path(__file__).read_text()
    )
    stamp = ENVIRONMENT / "made-for"
    if not stamp.exists() or stamp.read_text() != made_for:
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv"], check=True)
        install = [uv, "pip", "install", "-q", "--python", python]
        package = f"{ROOT}[{','.join(EXTRAS)}]"
        subprocess.run([*install, "--resolution", "lowest-direct", "-e", package], check=True)
        # Then the tools, in the versions that we use: what is installed and suits them stays.
        subprocess.run([*install, *pinned_tools()], check=True)
        stamp.write_text(made_for)
    return python


def pinned_tools() -> list[str]:
    """The tools with their versions in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {name.lower(): version for name, _, version in (line.partition("==") for line in lines)}
    return [f"{tool}=={pins[tool.partition('[')[0]]}" for tool in TOOLS]


def installed(python: Path) -> list[str]:
    """The versions of the package's own dependencies that are installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(each for extra in EXTRAS for each in project["optional-dependencies"][extra])]
    names = sorted({re.split(r"[\[>=]", each)[0] for each in wanted})
    code = "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=chr(10))"
    return subprocess.run([python, "-c", code, *names], check=True, capture_output=True, text=True).stdout.splitlines()


def main() -> None:
    python = make_environment()
    print(*installed(python), sep="\n", flush=True)
    if "--list" not in sys.argv:
        sys.exit(subprocess.run([python, "-m", "pytest", "-q", "-n", "2", *OPTIONS, *TESTS], cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
