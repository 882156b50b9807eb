"""Several databases of one application: their numbers, the homes of ids, and questions to all of them."""

import subprocess
import sys
import time
from collections.abc import Callable

import psycopg
import pytest

from tests import forks
from tests.py.support import AWAY, Session
from underway_pg import schema, statements
from underway_pg.connections import connect
from underway_pg.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InvalidArgument,
    ServerUnresponsive,
    ShardInUse,
    UnknownShard,
)
from underway_pg.settings import Queue
from underway_pg.shards import Shards

FIRST = 1 << 44


def run(command: str, *, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return forks.run(
        [sys.executable, "-m", "underway_pg", *command.split()], input=stdin, capture_output=True, text=True
    )


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with connect(dsn) as connection:
        return connection.execute(query).fetchall()


def test_migrate_gives_a_new_database_its_number_and_the_same_again_changes_nothing(empty_database: str) -> None:
    planned = run(f"migrate --plan --shard 3 --dsn {empty_database}")
    first = run(f"migrate --shard 3 --dsn {empty_database}")
    again = run(f"migrate --shard 3 --dsn {empty_database}")
    without = run(f"migrate --dsn {empty_database}")

    assert "to set: the shard number 3" in planned.stdout
    assert "set: the shard number 3" in first.stdout
    assert again.stdout == without.stdout == "the schema is up to date\n"
    assert rows(empty_database, "select underway.shard(), nextval('underway.task_id_seq')") == [(3, 3 * FIRST + 1)]


def test_migrate_refuses_another_number_when_ids_were_given_out(database: str) -> None:
    rows(database, "select nextval('underway.task_id_seq')")

    for command in ("migrate --shard 4", "migrate --plan --shard 4"):
        refused = run(f"{command} --dsn {database}")
        assert refused.returncode == 1
        assert "is shard 0 and has given out ids; it cannot become shard 4" in refused.stderr
        assert "`underway move`" in refused.stderr
    with pytest.raises(ShardInUse):
        schema.migrate(database, shard=4)
    assert run(f"migrate --shard 0 --dsn {database}").stdout == "the schema is up to date\n"


@pytest.mark.parametrize(
    ("number", "reason"),
    [("512", "less than or equal to 511"), ("-1", "greater than or equal to 0"), ("x", "a valid integer")],
)
def test_migrate_refuses_a_number_that_is_out_of_range(number: str, reason: str) -> None:
    for command in (f"migrate --sql --shard={number}", f"migrate --shard={number} --dsn {AWAY}"):
        refused = run(command)
        assert refused.returncode == 2
        assert f"Invalid value for '--shard': Input should be {reason}" in refused.stderr


def test_the_package_names_a_number_that_is_out_of_range(empty_database: str) -> None:
    for number in (512, -1, True, "3"):
        with pytest.raises(ConfigurationError, match=f"shard is {number!r}; give"):
            schema.migrate(empty_database, shard=number)  # type: ignore[arg-type]
    assert rows(empty_database, "select to_regnamespace('underway')") == [(None,)]


@pytest.mark.parametrize("options", ["", " --no-transaction"])
def test_the_printed_schema_gives_the_number(empty_database: str, options: str) -> None:
    script = run(f"migrate --sql --shard 9{options}").stdout

    for _ in range(2):
        with psycopg.connect(empty_database, autocommit=True) as connection:
            connection.execute(script.encode())
    assert rows(empty_database, "select underway.shard()") == [(9,)]


def test_a_transaction_that_takes_an_id_while_the_number_is_given_keeps_it_from_changing(database: str) -> None:
    with Session(database) as enqueuer, Session(database) as owner:
        enqueuer.run("begin")
        # It has the lock that nextval takes, and has given out no id.
        enqueuer.run("select setval('underway.task_id_seq', 1, false)")
        change = owner.start("select underway.set_shard(4)")
        enqueuer.see_waiting(owner, behind=enqueuer)

        enqueuer.run("select nextval('underway.task_id_seq')")
        enqueuer.run("commit")

        with pytest.raises(psycopg.Error, match="has given out ids"):
            change.result()


def test_an_id_leads_to_its_database(databases: Callable[[int], str]) -> None:
    with Shards({"eu": databases(0), "us": databases(5), "asia": databases(511)}) as shards:
        assert shards.home_of(1) == shards.home_of(FIRST - 1) == "eu"
        assert shards.home_of(5 * FIRST) == shards.home_of(6 * FIRST - 1) == "us"
        assert shards.home_of(2**53 - 1) == "asia"


def test_an_id_of_no_database_is_refused_with_the_numbers(databases: Callable[[int], str]) -> None:
    with Shards({"eu": databases(0), "us": databases(5)}) as shards:
        for id, number in [(6 * FIRST, 6), (-1, -1)]:
            with pytest.raises(UnknownShard, match=rf"id {id} belongs to shard {number}, .*: eu \(0\), us \(5\)"):
                shards.home_of(id)


def test_a_database_that_gets_its_number_later_is_found(databases: Callable[[int], str]) -> None:
    dsn = databases(0)
    with Shards({"eu": dsn}) as shards:
        assert shards.home_of(1) == "eu"
        schema.migrate(dsn, shard=2)
        assert shards.home_of(2 * FIRST + 1) == "eu"


def test_two_databases_with_one_number_are_refused_by_name(databases: Callable[[int], str]) -> None:
    with (
        Shards({"eu": databases(1), "us": databases(2), "asia": databases(1)}) as shards,
        pytest.raises(ConfigurationError, match=r"the databases eu and asia are both shard 1; .* --shard N"),
    ):
        shards.home_of(FIRST)


def test_a_database_that_is_away_does_not_hinder_the_ids_of_others(databases: Callable[[int], str]) -> None:
    with Shards({"away": AWAY, "eu": databases(1)}) as shards:
        assert shards.home_of(FIRST) == "eu"
        with pytest.raises(DatabaseUnavailable, match=r"id 7 belongs to shard 0, perhaps away: .*cannot be reached"):
            shards.home_of(7)
        assert shards.home_of(FIRST) == "eu"


def test_all_databases_are_asked_and_the_one_that_is_away_is_named(databases: Callable[[int], str]) -> None:
    eu, us = databases(1), databases(2)
    rows(eu, "select underway.create_queue('mail')")

    with Shards({"us": us, "away": AWAY, "eu": eu}) as shards:
        answers = shards.ask_all(statements.queue_settings())

    assert list(answers.results) == ["us", "eu"]
    assert answers.results["us"] == []
    assert [queue.name for queue in answers.results["eu"]] == ["mail"]
    assert list(answers.unreachable) == ["away"]
    assert isinstance(answers.unreachable["away"], DatabaseUnavailable)


def test_a_database_that_does_not_answer_delays_the_others_by_its_timeout_only(
    databases: Callable[[int], str],
) -> None:
    dsns = {f"shard {number}": databases(number) for number in range(4)}

    def answer(connection: psycopg.Connection[object]) -> object:
        (number,) = connection.execute("select underway.shard()").fetchall()[0]
        return connection.execute("select pg_sleep(60)" if number != 2 else "select 'prompt'").fetchall()[0][0]

    started_at = time.monotonic()
    with Shards(dsns, timeout=1.0) as shards:
        answers = shards.run_all(answer)

    assert answers.results == {"shard 2": "prompt"}
    assert list(answers.unreachable) == ["shard 0", "shard 1", "shard 3"]
    assert all(isinstance(error, ServerUnresponsive) for error in answers.unreachable.values())
    assert time.monotonic() - started_at < 2.9, "they are asked one after the other"


def test_what_a_database_refuses_is_raised(databases: Callable[[int], str]) -> None:
    with Shards({"eu": databases(1)}) as shards, pytest.raises(InvalidArgument):
        shards.ask_all(statements.create_queue(Queue(name="")))
    assert Shards({}).ask_all(statements.shard()).results == {}
