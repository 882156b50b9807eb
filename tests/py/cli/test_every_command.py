"""Rules for every command: --json exists and is JSON, names are completed, and the scripts of completion work."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.py.test_cli import NOWHERE, Answer, Underway, complete_next, environment_for, fail_next
from tests.servers import Server
from underway_pg import schema
from underway_pg.cli import COMMANDS, command

# Commands that end only when somebody asks them to. Those without JSON print a log.
ENDLESS = {"worker", "dashboard", "events"}
NO_JSON = {"worker", "dashboard"}


def every_command(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, found in (group or command()).commands.items():
        if hasattr(found, "commands"):
            yield from every_command(found, (*path, name))
        else:
            yield (*path, name), found


def test_a_command_is_made_without_the_modules_of_the_others() -> None:
    assert list(command().commands) == COMMANDS
    for name in COMMANDS:
        assert name in command(name).commands
    program = "import sys; from underway_pg.cli import main; main(['worker', '--help']); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    imported = {name.rpartition(".")[2] for name in ended.stdout.split() if name.startswith("underway_pg.cli.")}
    assert "worker" in imported
    assert imported.isdisjoint({*COMMANDS, "actions", "completion", "transfer"} - {"worker"})


def test_every_command_has_the_option_json() -> None:
    without = [
        " ".join(path)
        for path, command in every_command()
        if not any("--json" in parameter.opts for parameter in command.params)
    ]
    assert set(without) == NO_JSON & {" ".join(path) for path, _ in every_command()}


@pytest.fixture
def other_shard(server: Server) -> Iterator[str]:
    """The dsn of a second database, with another shard number."""
    with server.database() as dsn:
        schema.migrate(dsn, shard=7)
        yield dsn


def test_every_command_prints_json_with_the_option_json(
    mail: Underway, connection: psycopg.Connection[Any], database: str, other_shard: str, tmp_path: Path
) -> None:
    ids = iter([int(mail("enqueue", "mail").out) for _ in range(8)])
    failed, done = fail_next(connection), complete_next(connection, None)
    next(ids), next(ids)
    (letter,) = (task["id"] for task in mail("tasks", "--dead-letters", "--json").json)
    batch = connection.execute("""select underway.enqueue_batch('[{"queue": "mail"}]')""").fetchall()[0][0]
    file = tmp_path / "tasks.jsonl"
    (tmp_path / "app_for_json.py").write_text("from underway_pg import App\napp = App()\n")
    shards = tmp_path / "shards.toml"
    shards.write_text(f'[eu]\nnumber = 0\ndsn = "{connection.info.dsn}"\n')
    calls: dict[str, list[object]] = {
        "migrate": [],
        "sync": ["app_for_json:app"],
        "enqueue": ["mail"],
        "top": [],
        "doctor": [],
        "tasks": [],
        "task": [done],
        "why": [next(ids)],
        "wait": [done],
        "cancel": [next(ids)],
        "retry": [failed],
        "redrive": ["--all", "--yes"],
        "delete": [done],
        "run-again": [next(ids)],
        "reschedule": [next(ids), "1h"],
        "reprioritize": [next(ids), 3],
        "export": ["--all", "--output", file],
        "import": [file],
        "move": ["--queue", "mail", "--from", database, "--to", other_shard, "--yes", "--partial"],
        "queues": [],
        "jobs": [],
        "batches": [],
        "schedules": [],
        "cron": ["@daily"],
        "workers": [],
        "stats": [],
        "stop": ["--all"],
        "completion": ["bash"],
        "console": ["--sql", "--shards", shards],
        "queue create": ["other"],
        "queue pause": ["other"],
        "queue resume": ["other"],
        "queue drop": ["other"],
        "schedule add": ["s", "mail", "@daily"],
        "schedule pause": ["s"],
        "schedule resume": ["s"],
        "schedule run": ["s"],
        "schedule remove": ["s"],
        "batch cancel": [batch],
    }
    assert letter > 0
    names = {" ".join(path) for path, _ in every_command()} - ENDLESS
    assert names <= set(calls), "a command without a call in this test"
    for name in sorted(names, key=list(calls).index):
        if name == "sync":
            answer = in_directory(tmp_path, mail, *name.split(), *calls[name], "--json")
        else:
            answer = mail(*name.split(), *calls[name], "--json")
        assert answer.code == (1 if name == "doctor" else 0), (name, answer)
        json.loads(answer.out)


def in_directory(directory: Path, underway: Underway, *arguments: object) -> Answer:
    before = Path.cwd()
    os.chdir(directory)
    try:
        return underway(*arguments)
    finally:
        os.chdir(before)


# Completion


def completed(words: str, database: str | None) -> list[str]:
    """What is offered for the last of these words, by the protocol of the script for bash."""
    environment = {
        **environment_for(database), "_UNDERWAY_COMPLETE": "complete_bash", "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }  # fmt: skip
    process = subprocess.run(
        [sys.executable, "-m", "underway_pg"], capture_output=True, text=True, env=environment, check=False, timeout=60
    )
    assert process.stderr == ""
    return process.stdout.split()


def test_commands_and_options_are_completed() -> None:
    assert completed("underway red", None) == ["redrive"]
    assert completed("underway queue p", None) == ["pause"]
    assert completed("underway tasks --fin", None) == ["--finished-after", "--finished-before"]
    assert completed("underway tasks --state f", None) == ["failed"]


def test_names_are_completed_from_the_database(mail: Underway, database: str) -> None:
    mail("schedule", "add", "morning", "mail", "@daily")
    assert completed("underway tasks --queue ma", database) == ["mail"]
    assert completed("underway queue pause ", database) == ["dead", "mail"]
    assert completed(f"underway tasks --dsn {database} --dsn {NOWHERE} --queue ma", None) == ["mail"]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select underway.register_job('send', 'mail')")
    assert completed("underway enqueue mail --job s", database) == ["send"]
    assert completed("underway schedule pause m", database) == ["morning"]


def test_without_a_database_no_name_is_completed() -> None:
    assert completed("underway tasks --queue ma", None) == []
    assert completed("underway tasks --queue ma", NOWHERE) == []


def test_a_database_that_does_not_answer_delays_no_completion() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://somebody@127.0.0.1:{silent.getsockname()[1]}/app"
        begun = time.monotonic()
        assert completed("underway tasks --queue ma", dsn) == []
        # Half a second, and the start of a process; the timeout of a connection is two seconds.
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_prints_a_script(bare: Underway, shell: str) -> None:
    answer = bare("completion", shell)
    assert answer.code == 0
    assert "_UNDERWAY_COMPLETE" in answer.out
    assert "underway" in bare("completion", shell, "--json").json["script"]
    if program := shutil.which(shell):
        checked = subprocess.run([program, "-n"], input=answer.out, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_bash_completes_with_the_script(bare: Underway, mail: Underway, database: str, tmp_path: Path) -> None:
    program = tmp_path / "underway"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m underway_pg "$@"\n')
    program.chmod(0o755)
    script = bare("completion", "bash").out + (
        "\nCOMP_WORDS=(underway queue pause m); COMP_CWORD=3; _underway_completion underway; echo ${COMPREPLY[@]}\n"
    )
    environment = {**environment_for(database), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    process = subprocess.run(["bash"], input=script, text=True, capture_output=True, env=environment, check=False)
    assert process.stdout.split() == ["mail"], process.stderr


def test_completion_of_another_shell_is_wrong_usage(bare: Underway) -> None:
    answer = bare("completion", "tcsh")
    assert answer.code == 2
    assert "fish" in answer.err
