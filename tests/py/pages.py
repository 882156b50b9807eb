"""Run the code blocks of pages of documentation, in their order.

    python tests/py/pages.py < pages.json

reads a list of `{"page": path, "dsn": ..., "prepare": SQL}`. It prints a line of JSON for each page, with the error or
null. All pages run in this one process, each in a directory of its own and with its own database in DATABASE_URL.

| block | what happens |
|---|---|
| python | runs in the program of the page: all of its blocks share one `__main__` |
| python, toml, ini; the first line is a comment with a file name, `# shop/jobs.py` | becomes that file |
| sql | is sent to the database, a transaction each statement |
| console | each command, after `$ `, runs, as `Console` says; what it prints must be what follows, if anything does |
| text output | is what the blocks since the last such block have printed |
| json, yaml, toml, ini | can be parsed |
| any, with `not-run: reason` after the language | nothing |

In expected output, `...` stands for any text, and the amount of white space in a line does not count.
"""

from __future__ import annotations

import configparser
import contextlib
import faulthandler
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
import types
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import yaml

from tests import forks

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0

FENCE = re.compile(r"^```(?!\{)([\w-]*)[ \t]*(.*)\n((?:.*\n)*?)```$", re.M)
FILE = re.compile(r"\A# ([\w./-]+\.(?:py|toml|ini|cfg))\n")
# A package that readers replace by their own. Commands with it are checked, and not run.
YOURS = "my_package"
NEEDS_FILES = {"worker", "sync"}
SERVERS = {"uvicorn", "flask", "runserver"}
DEFAULT_PORTS = ("8000", "5000")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    note: str
    text: str
    line: int

    @property
    def reason_not_to_run(self) -> str | None:
        return self.note.removeprefix("not-run:").strip() if self.note.startswith("not-run:") else None

    @property
    def file(self) -> str | None:
        match = FILE.match(self.text)
        return match[1] if match else None


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(m[1], m[2].strip(), m[3], text.count("\n", 0, m.start(3)) + 1) for m in FENCE.finditer(text)]


def matches(expected: str, actual: str) -> bool:
    """Whether a text is as expected; `...` stands for any text."""

    def normal(text: str) -> str:
        return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())

    return bool(re.fullmatch(re.escape(normal(expected)).replace(r"\.\.\.", ".*"), normal(actual), re.S))


def check_output(expected: str, actual: str) -> None:
    if not matches(expected, actual):
        raise AssertionError(f"expected:\n{expected}\nprinted:\n{actual}")


@dataclass
class Console:
    """Commands as they are typed. Those of `underway` run in this process if they do not need files of the page.

    Workers, web servers and commands with `&` at the end run in the background, until SIGTERM at the end of the page.
    The page goes on when they have printed what is expected. `curl` is played here, because a machine may lack it. Of
    commands that would change this environment or take long it is only checked that they exist: the extras of `pip
    install`, the targets of `make`, and the files of tests.
    """

    directory: Path
    dsn: str
    has_files: bool
    port: str = ""
    background: list[tuple[subprocess.Popen[str], Path]] = field(default_factory=list)
    started: dict[Path, int] = field(default_factory=dict)  # how often workers had started when a file was changed

    def run(self, text: str) -> None:
        steps = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.M)
        if "".join(f"$ {command}\n{output}" for command, output in steps) != text:
            raise AssertionError(f"a command begins with '$ ':\n{text}")
        for command, output in steps:
            try:
                self._step(command.replace("\\\n", " "), output.strip())
            except BaseException as error:
                error.add_note(f"$ {command}")
                raise

    def _step(self, command: str, expected: str) -> None:
        if re.search(r"""(?:[^'"|>]|'[^']*'|"[^"]*")*[|>]""", command.partition(" #")[0]):
            return check_output(expected or "...", self._run(["sh", "-c", command]))
        words = [word.replace("$DATABASE_URL", self.dsn) for word in shlex.split(command, comments=True)]
        if any(word.startswith(YOURS) for word in words):
            return check_usage(words[1:])
        match words:
            case ["pip", "install", *packages]:
                return check_extras(packages)
            case ["make", target]:
                return check_target(target)
            case [".venv/bin/python", "-m", *rest]:
                paths = [word.replace(".", "/") if word.startswith("tests.") else word for word in rest]
                missing = [each for each in paths if each.startswith("tests/") and not list(ROOT.glob(f"{each}*"))]
                assert not missing, missing
                return None
            case ["export", assignment]:
                name, _, value = assignment.partition("=")
                if name == "DATABASE_URL":  # the database of the page, in the form that its readers use
                    value = f"{value.partition('://')[0]}://{self.dsn.partition('://')[2]}"
                os.environ[name] = value
                return None
            case ["cd", _] | ["mkdir", _]:
                return None
            case ["curl", *rest]:
                return check_output(expected or "...", self._curl(rest))
            case ["underway", command, *_] if command not in NEEDS_FILES or not self.has_files:
                return check_output(expected or "...", in_process(words[1:]))
        if SERVERS & set(words) or words[-1] == "&" or ("worker" in " ".join(words) and "--drain" not in words):
            return self._start([word for word in words if word != "&"], expected)
        return check_output(expected or "...", self._run(words))

    def _environment(self) -> dict[str, str]:
        path = [str(Path(sys.executable).parent), os.environ["PATH"]]
        return {
            **os.environ,
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": os.pathsep.join([".", str(ROOT)]),
            # The tests of a page need not start a server of their own each time; tests/py/test_testing.py sees that.
            "PYTEST_ADDOPTS": f"-p underway_pg.testing.plugin --underway-server={self.dsn}",
        }

    def _run(self, command: list[str]) -> str:
        ended = forks.run(
            command, cwd=self.directory, env=self._environment(), timeout=SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if ended.returncode:
            raise AssertionError(f"exit code {ended.returncode}: {ended.stdout}")
        return ended.stdout

    def _start(self, words: list[str], expected: str) -> None:
        if SERVERS & set(words):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = str(free.getsockname()[1])
            words += [self.port] if "runserver" in words else ["--port", self.port]
        if "flask" in words or "runserver" in words:
            words += ["--no-reload"] if "flask" in words else ["--noreload"]
        log = self.directory / f"log-{len(self.background)}"
        environment = self._environment() | {"PYTHONUNBUFFERED": "1"}
        with log.open("w") as output:
            process = forks.Popen(
                [shutil.which(words[0], path=environment["PATH"]) or words[0], *words[1:]],
                cwd=self.directory, env=environment, stdout=output, stderr=output, text=True,
            )  # fmt: skip
        self.background.append((process, log))
        deadline = time.monotonic() + SECONDS
        while expected and not matches(f"...{expected}...", log.read_text()):
            if time.monotonic() > deadline or process.poll() is not None:
                check_output(expected, log.read_text())
            time.sleep(0.05)

    def wait_for_reload(self) -> None:
        """Wait until a worker with --reload runs the files that the page has changed."""
        started, self.started = self.started, {}
        for log, times in started.items():
            deadline = time.monotonic() + SECONDS
            while log.read_text().count(" serves ") <= times and time.monotonic() < deadline:
                time.sleep(0.05)

    def file_changed(self) -> None:
        for process, log in self.background:
            if "--reload" in process.args:
                self.started.setdefault(log, log.read_text().count(" serves "))

    def _curl(self, words: list[str]) -> str:
        method, data, headers, url = None, None, {}, ""
        arguments = iter(words)
        for word in arguments:
            match word:
                case "-X":
                    method = next(arguments)
                case "-d":
                    data = next(arguments).encode()
                case "-H":
                    name, _, value = next(arguments).partition(":")
                    headers[name] = value.strip()
                case "-s":
                    pass
                case _:
                    url = word
        for port in DEFAULT_PORTS:
            url = url.replace(f":{port}", f":{self.port}")
        url = url if "://" in url else f"http://{url}"
        request = urllib.request.Request(url, data, headers, method=method)
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=SECONDS) as response:
                    return str(response.read().decode())
            except urllib.error.HTTPError as error:
                raise AssertionError(f"{error}: {error.read().decode()}") from None
            except urllib.error.URLError:  # it has not started yet
                if time.monotonic() > deadline or any(process.poll() is not None for process, _ in self.background):
                    raise
                time.sleep(0.05)

    def logs(self) -> str:
        return "".join(f"{shlex.join(process.args)}:\n{log.read_text()}" for process, log in self.background)

    def finish(self) -> None:
        """Stop what runs in the background."""
        for process, _ in self.background:
            process.send_signal(signal.SIGTERM)
        for process, _ in self.background:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def in_process(arguments: list[str]) -> str:
    """What a command of `underway` prints; raises an AssertionError if it fails."""
    from underway_pg.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(arguments)
    if code:
        raise AssertionError(f"exit code {code}: {printed.getvalue()}")
    return printed.getvalue()


def check_usage(arguments: list[str]) -> None:
    """Check that a command of `underway` and its options exist."""
    from underway_pg.cli import command as command_line

    command: Any = command_line()
    context = command.make_context("underway", list(arguments))
    while hasattr(command, "resolve_command"):
        name, command, arguments = command.resolve_command(context, context._protected_args + context.args)
        context = command.make_context(name, list(arguments), parent=context)


def check_target(target: str) -> None:
    """Check that the Makefile has a target."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), f"make knows no target {target}"


def check_extras(packages: list[str]) -> None:
    """Check that the extras of our package exist, in the packages that are to be installed."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package in packages:
        if match := re.match(r"underway-pg\[(.*)\]", package):
            unknown = set(match[1].split(",")) - set(known)
            assert not unknown, f"underway-pg has no extras {unknown}"


class Program:
    """The Python of a page: a module `__main__` whose file has the lines of the page, at their numbers."""

    def __init__(self, page: Path, directory: Path, python: list[Block]) -> None:
        self._path = directory / f"page_{page.stem.replace('-', '_')}.py"
        lines = [""] * len(page.read_text().splitlines())
        for block in python:
            code = block.text.splitlines()
            lines[block.line - 1 : block.line - 1 + len(code)] = code
        if python:  # a page named like a module would hide it from the page's commands
            self._path.write_text("\n".join(lines))
        self._module = types.ModuleType("__main__")
        self._module.__file__ = str(self._path)
        sys.modules["__main__"] = self._module

    def run(self, block: Block) -> None:
        code = compile("\n" * (block.line - 1) + block.text, str(self._path), "exec")
        exec(code, vars(self._module))


def run_page(page: Path, dsn: str, prepare: str, directory: Path) -> None:
    """Run all blocks of a page. Raises what is wrong with the first block that fails."""
    to_run = [block for block in blocks(page) if block.reason_not_to_run is None]
    files = [block for block in to_run if block.file]
    program = Program(page, directory, [b for b in to_run if b.language == "python" and not b.file])
    console = Console(directory, dsn, bool(files))
    printed = io.StringIO()

    def send(sql: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.encode())

    def write(block: Block) -> None:
        path = directory / (block.file or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        console.file_changed()

    def output(block: Block) -> None:
        check_output(block.text, printed.getvalue())
        printed.seek(0)
        printed.truncate()

    def python(block: Block) -> None:
        with contextlib.redirect_stdout(printed):
            program.run(block)

    actions: dict[str, Callable[[Block], Any]] = {
        "python": python,
        "sql": lambda block: send(block.text),
        "console": lambda block: console.run(block.text),
        "json": lambda block: json.loads(block.text),
        "yaml": lambda block: list(yaml.safe_load_all(block.text)),
        "toml": lambda block: tomllib.loads(block.text),
        "ini": lambda block: configparser.ConfigParser(strict=False).read_string(block.text),
    }
    try:
        send(prepare)
        for block in to_run:
            action = write if block.file else output if block.note == "output" else actions.get(block.language)
            if action is not None:
                if not block.file:
                    console.wait_for_reload()
                try:
                    action(block)
                except BaseException as error:
                    error.add_note(f"{page}, line {block.line}; printed so far:\n{printed.getvalue()}{console.logs()}")
                    raise
    finally:
        console.finish()


@contextlib.contextmanager
def own_place(dsn: str) -> Iterator[Path]:
    """A directory and an environment for a page."""
    before = dict(os.environ), Path.cwd(), list(sys.path), sys.modules["__main__"]
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        sys.path.insert(0, directory)
        os.environ["DATABASE_URL"] = dsn
        try:
            yield Path(directory)
        finally:
            os.environ.clear()
            os.environ.update(before[0])
            os.chdir(before[1])
            sys.path[:] = before[2]
            sys.modules["__main__"] = before[3]


def main() -> None:
    for given in json.load(sys.stdin):
        error = None
        faulthandler.dump_traceback_later(3 * SECONDS, exit=True)  # a page that hangs says where
        with own_place(given["dsn"]) as directory:
            try:
                run_page(Path(given["page"]), given["dsn"], given["prepare"], directory)
            except BaseException:
                error = traceback.format_exc()
        print(json.dumps({"page": given["page"], "error": error}), flush=True)


if __name__ == "__main__":
    main()
