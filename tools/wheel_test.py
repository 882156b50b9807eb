"""Build and test the distributions.

    python tools/wheel_test.py          with the Python that runs this
    python tools/wheel_test.py --all    with each Python from 3.11 to 3.14 that is found

The wheel is built from the source distribution, so whatever is missing there is missing everywhere. Both pass `twine
check`. The source distribution, unpacked, passes a few of its own tests. The wheel is installed into an empty
environment, and `underway migrate`, a task and a worker run from there. The database is an embedded PostgreSQL of the
environment that runs this.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from underway_pg import __version__
from underway_pg.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.11", "3.12", "3.13", "3.14")

TASKS = """
import underway_pg as underway

app = underway.App()

@app.job(queue="email")
def greet(name: str) -> str:
    return f"Hello {name}"
"""

# What the distributions have to contain: files of the wheel, and files of the source distribution beyond those.
SMOKE = ("tests/py/test_exports.py", "tests/py/test_reference.py")
IN_WHEEL = (
    "underway_pg/py.typed",
    "underway_pg/sql/migrations/0001_initial.sql",
    "underway_pg/sql/testing/underway_test.sql",
)
IN_SDIST = ("tests/conftest.py", "docs/guides/deploying.md", "benchmarks/run.py", "CHANGELOG.md", "CONTRIBUTING.md",
            "README.md", "LICENSE", "constraints.txt", "examples/people.csv", "tools/venv", ".ci/run")  # fmt: skip


def run_quietly(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command; show what it prints only if it fails."""
    ended = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{ended.stdout}")


def build(directory: Path) -> tuple[Path, Path]:
    """Build both distributions and check their contents and metadata. Returns the wheel and the source distribution."""
    run_quietly(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory)
    (wheel,) = directory.glob("*.whl")
    (sdist,) = directory.glob("*.tar.gz")
    run_quietly(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    missing = [name for name in IN_WHEEL if name not in in_wheel] + [name for name in IN_SDIST if name not in in_sdist]
    if missing:
        sys.exit(f"missing in the distributions: {', '.join(missing)}")
    return wheel, sdist


def test_sdist(sdist: Path, directory: Path) -> None:
    """Run a few tests of the source distribution in its own directory."""
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    (unpacked,) = (path for path in directory.iterdir() if path.is_dir())
    origin = f"import underway_pg, pathlib; assert pathlib.Path(underway_pg.__file__).is_relative_to({str(unpacked)!r})"
    run_quietly(sys.executable, "-c", origin, cwd=unpacked)
    run_quietly(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SMOKE, cwd=unpacked)
    print(f"{sdist.name} passes its tests")


def find_python(version: str) -> str | None:
    """The interpreter of a version, from the PATH or from pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    for candidate in filter(None, candidates):
        # pyenv puts commands on the PATH that only say that the version is not selected.
        if subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return candidate
    return None


def install(wheel: Path, python: str, environment: Path) -> None:
    """Make an environment that contains the wheel, its extras `binary` and `cli`, and nothing else."""
    subprocess.run([python, "-m", "venv", "--without-pip", environment], check=True)
    target = environment / "bin" / "python"
    if importable("pip"):
        pip = [sys.executable, "-m", "pip", "--python", str(target), "--disable-pip-version-check"]
    else:
        pip = ["uv", "pip"]
        os.environ["VIRTUAL_ENV"] = str(environment)
    subprocess.run([*pip, "install", "--quiet", f"{wheel}[binary,cli]"], check=True)


def importable(module: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode == 0


def run_task(environment: Path, dsn: str) -> None:
    """From an empty database to the result of a task."""

    def run(program: str, *arguments: str) -> str:
        # Nothing of this checkout may be importable there.
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            [environment / "bin" / program, *arguments],
            cwd=environment, env={**variables, "DATABASE_URL": dsn}, check=True, stdout=subprocess.PIPE, text=True,
        ).stdout.strip()  # fmt: skip

    (environment / "tasks.py").write_text(TASKS)
    assert run("underway", "--version") == f"underway {__version__}"
    run("underway", "migrate")
    task = run("python", "-c", "import tasks; print(int(tasks.greet.enqueue(name='you')))")
    run("underway", "worker", "tasks", "--drain", "--log-level", "warning")
    (ended,) = json.loads(run("underway", "wait", task, "--json"))
    assert (ended["state"], ended["output"]) == ("succeeded", "Hello you"), ended


def main() -> None:
    parser = argparse.ArgumentParser(description="Test the built wheel in an empty environment.")
    parser.add_argument("--all", action="store_true", help="with each Python from 3.11 to 3.14 that is found")
    with_all = parser.parse_args().all
    with tempfile.TemporaryDirectory() as directory:
        wheel, sdist = build(Path(directory))
        test_sdist(sdist, Path(directory) / "unpacked")
        for version in VERSIONS if with_all else [f"{sys.version_info[0]}.{sys.version_info[1]}"]:
            python = find_python(version) if with_all else sys.executable
            if python is None:
                print(f"Python {version}: not found")
                continue
            environment = Path(directory) / version
            install(wheel, python, environment)
            server = EmbeddedPostgres()
            server.start()
            try:
                run_task(environment, server.dsn)
            finally:
                server.stop()
            print(f"Python {version}: {wheel.name} works")


if __name__ == "__main__":
    main()
