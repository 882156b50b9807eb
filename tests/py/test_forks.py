"""Processes that are forked for tests behave as those that are executed."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import forks
from tests.py.support import SECONDS

ABOUT = """
import json, os, signal, sys, warnings
about = {
    "arguments": sys.argv,
    "name": __name__,
    "file": globals().get("__file__"),
    "paths": sys.path,
    "directory": os.getcwd(),
    "environment": dict(os.environ),
    "leads its group": os.getpgrp() == os.getpid(),
    "leads its session": os.getsid(0) == os.getpid(),
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
    "stdin": sys.stdin.read(),
    "encodings": [sys.stdin.encoding, sys.stdout.encoding, sys.stderr.encoding],
    "warnings": sys.warnoptions,
}
print(json.dumps(about, indent=1, sort_keys=True))
print("to stderr", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["-c", ABOUT, "a", "-b"], {}),
        (["-W", "error", "about.py", "c"], {}),
        (["-m", "about"], {"process_group": 0}),
        (["./about.py"], {"start_new_session": True}),
        (["-c", ABOUT + "sys.exit(7)"], {}),
        (["-c", ABOUT + "sys.exit('no')"], {}),
        (["-c", ABOUT + "os.kill(os.getpid(), signal.SIGTERM)"], {}),
    ],
    ids=["code", "file", "module in a group", "file in a session", "exit code", "message", "signal"],
)
def test_a_fork_is_like_a_process(tmp_path: Path, arguments: list[str], options: dict[str, Any]) -> None:
    (tmp_path / "about.py").write_text(ABOUT)
    given, kept = os.pipe()
    os.close(given)
    settings: dict[str, Any] = {
        "cwd": tmp_path,
        "env": {"PATH": "/bin", "PYTHONPATH": f"here{os.pathsep}/there", "ODD": "\udcff", "LC_ALL": "C.UTF-8"},
        "input": "in", "capture_output": True, "text": True, "timeout": SECONDS, "pass_fds": [kept], **options,
    }  # fmt: skip
    try:
        ended = [run([sys.executable, *arguments], **settings) for run in (forks.run, subprocess.run)]
    finally:
        os.close(kept)
    assert vars(ended[0]) == vars(ended[1])


def test_a_signal_ends_a_fork() -> None:
    with forks.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.poll() is None
        process.kill()
        assert process.wait(SECONDS) == -signal.SIGKILL


def test_what_is_not_this_python_is_executed() -> None:
    assert forks.run(["sh", "-c", "echo $0"], capture_output=True, text=True).stdout == "sh\n"
    flags = forks.run([sys.executable, "-O", "-c", "import sys; print(sys.flags.optimize)"], capture_output=True)
    assert flags.stdout == b"1\n"
    with pytest.raises(FileNotFoundError):
        forks.run(["no-such-program"])


PARENT = """
import asyncio, os, sys

async def main():
    code = "import os, sys; print('asyncio' in sys.modules, os.environ.get('FORK_CHILDREN')); sys.exit(3)"
    command = [sys.executable, "-c", code]
    child = await asyncio.create_subprocess_exec(*command, start_new_session=True)
    print(await child.wait(), flush=True)
    child = await asyncio.create_subprocess_exec(*command)
    print(await child.wait(), flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a process the orphans below it")
def test_the_children_of_a_fork_are_forks_where_they_have_a_session_of_their_own() -> None:
    environment = {**os.environ, forks.CHILDREN: "1"}
    ended = forks.run([sys.executable, "-c", PARENT], env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert ended.stderr == ""
    forked, code, executed, code_again = ended.stdout.splitlines()
    assert code == code_again == "3"
    assert forked == "True None"  # what the server has imported
    assert executed == "False None"
