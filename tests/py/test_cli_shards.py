"""The command line over several databases: lists are merged, figures added, ids lead home, and one may be away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers import Server
from underway_pg import statements
from underway_pg.cli import main
from underway_pg.client import execute
from underway_pg.settings import Schedule

# Where no server listens.
AWAY = "postgresql://somebody@127.0.0.1:1/app"
AWAY_NAME = "127.0.0.1:1/app"

LISTS = ("tasks", "queues", "jobs", "workers", "schedules", "batches")


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shards:
    """Two databases, eu and us; in each the queue mail with two tasks, a schedule, a job, a batch and a worker."""

    dsns: dict[str, str]
    file: Path
    run: Callable[..., Answer]
    ids: dict[str, list[int]]

    def __call__(self, *arguments: object) -> Answer:
        """Run a command over all databases of the file."""
        return self.run(*arguments, "--shards", self.file)

    def without_us(self, *arguments: object) -> Answer:
        """Run a command over eu and a database that is away, which the file takes for us."""
        away = self.file.with_name("away.toml")
        away.write_text(self.file.read_text().replace(self.dsns["us"], AWAY))
        return self.run(*arguments, "--shards", away)

    def states(self, shard: str) -> list[str]:
        with psycopg.connect(self.dsns[shard]) as connection:
            return [row[0] for row in connection.execute("select state::text from underway.task_list order by id")]


def fill(dsn: str, number: int) -> list[int]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for sql in (
            f"select underway.set_shard({number})",
            "select underway.create_queue('mail')",
            "select underway.register_job('send', 'mail')",
            "select underway.register_worker('worker', array['mail'])",
        ):
            connection.execute(sql.encode())
        execute(connection, statements.schedule(Schedule(name="daily", queue="mail", cron="@daily")))
        batch = json.dumps([{"queue": "mail", "job": "send"}, {"queue": "mail", "job": "send"}])
        connection.execute("select underway.enqueue_batch(%s::jsonb)", [batch])
        return [row[0] for row in connection.execute("select id from underway.task_list order by id")]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def run(*arguments: object) -> Answer:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture
def shards(server: Server, tmp_path: Path, run: Callable[..., Answer]) -> Iterator[Shards]:
    with server.database() as eu, server.database() as us:
        file = tmp_path / "shards.toml"
        file.write_text(f'[eu]\nnumber = 0\ndsn = "{eu}"\n[us]\nnumber = 1\ndsn = "{us}"\n')
        yield Shards({"eu": eu, "us": us}, file, run, {"eu": fill(eu, 0), "us": fill(us, 1)})


@pytest.mark.parametrize("command", LISTS)
def test_a_list_has_the_rows_of_all_with_the_name_of_each(shards: Shards, command: str) -> None:
    answer = shards(command)
    assert (answer.code, answer.err) == (0, "")
    head, *rows = (line.split() for line in answer.out.splitlines())
    assert head[0] == "shard"
    assert {row[0] for row in rows} == {"eu", "us"}
    listed = shards(command, "--json").json
    assert listed["unreachable"] == {}
    assert sorted(each["shard"] for each in listed[command]) == sorted(row[0] for row in rows)


@pytest.mark.parametrize("command", LISTS)
def test_one_database_is_listed_as_if_there_were_no_others(shards: Shards, command: str) -> None:
    answer = shards.run(command, "--dsn", shards.dsns["us"])
    assert answer.code == 0
    assert answer.out.split()[0] != "shard"
    assert all("shard" not in each for each in shards.run(command, "--json", "--dsn", shards.dsns["us"]).json)


def test_the_newest_tasks_of_all_databases_are_listed(shards: Shards) -> None:
    for shard in ("eu", "us", "eu"):
        shards.run("enqueue", "mail", "--dsn", shards.dsns[shard])
    listed = shards("tasks", "--limit", 3, "--json").json["tasks"]
    assert [each["shard"] for each in listed] == ["eu", "us", "eu"]
    assert len(shards("tasks", "--all", "--json").json["tasks"]) == 7


def test_figures_are_added(shards: Shards) -> None:
    one = shards.run("stats", "--json", "--dsn", shards.dsns["eu"]).json
    both = shards("stats", "--json").json
    assert (one["ready"], both["ready"]) == (2, 4)
    assert both["workers"] == 2 * one["workers"] == 2
    assert both["oldest_ready_seconds"] >= one["oldest_ready_seconds"] > 0
    assert both["period"]["enqueued"] == 2 * one["period"]["enqueued"]


@pytest.mark.parametrize("shard", ["eu", "us"])
def test_an_id_leads_to_its_database(shards: Shards, shard: str) -> None:
    id = shards.ids[shard][0]
    assert shards("task", id, "--json").json["id"] == id
    assert "worker" not in shards("why", id).err
    assert shards("cancel", id).out == f"task {id}: cancelled\n"
    assert shards.states(shard) == ["cancelled", "pending"]
    assert shards("retry", id).code == 0
    assert shards.states(shard) == ["pending", "pending"]
    assert shards("reprioritize", id, 7).out == f"task {id}: priority 7\n"
    assert shards("reschedule", id, "2h").out.startswith(f"task {id}: due at ")
    info = shards("task", id, "--json").json
    assert (info["priority"], info["ready_at"] > info["enqueued_at"]) == (7, True)
    copy = int(shards("run-again", id, '{"n": 1}').out)
    assert copy >> 44 == id >> 44
    assert shards("task", copy, "--json").json["input"] == {"n": 1}


def test_an_id_leads_home_without_a_file_too(shards: Shards) -> None:
    id = shards.ids["us"][1]
    answer = shards.run("task", id, "--dsn", shards.dsns["eu"], "--dsn", shards.dsns["us"], "--json")
    assert answer.json["id"] == id


def test_ids_of_several_databases_are_changed_each_in_its_own(shards: Shards) -> None:
    ids = [shards.ids["us"][0], shards.ids["eu"][0], 5 << 44]
    answer = shards("cancel", *ids, "--json")
    assert answer.code == 1
    assert answer.json["cancelled"] == ids[:2]
    (refused,) = answer.json["refused"]
    assert refused["id"] == 5 << 44
    assert "belongs to shard 5" in refused["message"]
    assert shards.states("eu") == shards.states("us") == ["cancelled", "pending"]


def test_a_filter_changes_the_tasks_of_all_databases(shards: Shards) -> None:
    preview = shards("cancel", "--queue", "mail", "--dry-run", "--json").json
    assert preview["matched"] == 4
    assert sorted(preview["first"]) == sorted(shards.ids["eu"] + shards.ids["us"])
    answer = shards("cancel", "--queue", "mail", "--yes")
    assert (answer.code, answer.out) == (0, "4 tasks cancelled\n")
    assert shards.states("eu") == shards.states("us") == ["cancelled", "cancelled"]
    assert shards("retry", "--state", "cancelled", "--yes", "--json").json["changed"] == 4


def test_a_limit_is_for_one_database(shards: Shards) -> None:
    assert "--limit is for one database" in shards("cancel", "--queue", "mail", "--limit", 1, "--yes").err
    assert shards.states("eu") == shards.states("us") == ["pending", "pending"]


def test_top_has_all_databases(shards: Shards) -> None:
    snapshots = shards("top", "--json").json["shards"]
    assert [len(snapshot["queues"]) for snapshot in snapshots.values()] == [1, 1]
    out = shards("top", "--once").out
    assert "4 ready" in out
    assert "eu: mail" in out
    assert "us: mail" in out


def test_the_doctor_examines_all_databases(shards: Shards) -> None:
    found = shards("doctor", "--json").json["findings"]
    assert {each["shard"] for each in found if each["check"] == "schema"} == {"eu", "us"}
    assert not [each for each in found if each["check"] == "shard"]


def test_the_doctor_finds_two_databases_with_the_same_number(server: Server, run: Callable[..., Answer]) -> None:
    with server.database() as one, server.database() as other:
        answer = run("doctor", "--json", "--dsn", one, "--dsn", other)
    (finding,) = (each for each in answer.json["findings"] if each["check"] == "shard")
    assert answer.code == 1
    assert finding["what"].startswith("it is shard 0, and so is ")


# A database that is away


@pytest.mark.parametrize("command", [*LISTS, "stats", "doctor", "top"])
def test_a_database_that_is_away_is_one_line_and_the_others_are_shown(shards: Shards, command: str) -> None:
    answer = shards.without_us(command)
    assert answer.code == 1
    assert answer.out
    assert answer.err.startswith("underway: us: the database cannot be reached: ")
    assert answer.err.count("\n") == 1
    assert list(shards.without_us(command, "--json").json["unreachable"]) == ["us"]


def test_a_database_that_is_away_does_not_matter_to_ids_of_another(shards: Shards) -> None:
    id = shards.ids["eu"][0]
    for command in (["task", id], ["why", id], ["cancel", id], ["retry", id], ["reprioritize", id, 1]):
        answer = shards.without_us(*command)
        assert (answer.code, answer.err) == (0, "")


def test_an_id_of_the_database_that_is_away_says_so(shards: Shards) -> None:
    id = shards.ids["us"][0]
    for command in ("task", "why", "cancel"):
        answer = shards.without_us(command, id)
        assert answer.code == 1
        assert answer.err.count("\n") == 1
        assert "127.0.0.1" in answer.err


def test_the_tasks_of_the_others_are_changed_and_the_exit_code_tells(shards: Shards) -> None:
    answer = shards.without_us("cancel", "--queue", "mail", "--yes")
    assert (answer.code, answer.out) == (1, "2 tasks cancelled\n")
    assert shards.states("eu") == ["cancelled", "cancelled"]
    assert shards.states("us") == ["pending", "pending"]


def test_nothing_is_printed_where_no_database_answers(run: Callable[..., Answer]) -> None:
    answer = run("tasks", "--dsn", AWAY, "--dsn", AWAY.replace("/app", "/other"))
    assert (answer.code, answer.out) == (1, "")
    assert [line.split()[1] for line in answer.err.splitlines()] == [f"{AWAY_NAME}:", "127.0.0.1:1/other:"]


# What is given wrongly


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--dsn", AWAY, "--dsn", AWAY], "--dsn names the same database twice"),
        (["--dsn", AWAY, "--shards", "none.toml"], "give --dsn or --shards, not both"),
        (["--shards", "none.toml"], "cannot read none.toml: No such file or directory"),
        ([], "no database: use --dsn"),
    ],
)
def test_wrong_options_are_refused(run: Callable[..., Answer], options: list[str], problem: str) -> None:
    answer = run("tasks", *options)
    assert answer.code in (1, 2)
    assert problem in answer.err
