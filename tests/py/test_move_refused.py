"""What `underway move` refuses: databases that do not fit, wrong usage, batches out of order."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.py.move_support import Pair, bare, move, pair
from tests.py.test_cli import Underway, assert_refused
from tests.servers import Server

__all__ = ["bare", "move", "pair"]


def test_a_move_within_one_shard_is_refused(bare: Underway, pair: Pair) -> None:
    answer = bare("move", "--queue", "q", "--from", pair.source_dsn, "--to", pair.source_dsn, "--yes")
    assert_refused(answer, 2, "source and target both have shard number 3", "underway migrate --shard")


def test_a_move_to_another_version_of_the_schema_is_refused(move: Underway, pair: Pair) -> None:
    pair.target.run("insert into underway.migration (version, name, checksum, applied_at) values (99, 'x', '', now())")
    assert_refused(move(), 2, "the schema has version 1 at the source and 99 at the target")


def test_a_move_to_another_encoding_is_refused(bare: Underway, pair: Pair, server: Server) -> None:
    name = f"latin_{pair.source.pid}"
    pair.source.run(f"create database {name} encoding 'LATIN1' locale 'C' template template0")
    try:
        dsn = make_conninfo(server.dsn, dbname=name)
        assert bare("migrate", "--shard", 9, "--dsn", dsn).code == 0
        answer = bare("move", "--queue", "q", "--from", pair.source_dsn, "--to", dsn, "--yes")
        assert_refused(answer, 2, "the encoding is UTF8 at the source and LATIN1 at the target")
    finally:
        pair.source.run(f"drop database {name} with (force)")


def test_an_operator_may_move_and_a_worker_may_not(bare: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    pair.source.enqueue("q")
    for role, code in (("underway_worker", 2), ("underway_operator", 0)):
        as_role = {"options": f"-c role={role}"}
        pair_of_role = [make_conninfo(dsn, **as_role) for dsn in (pair.source_dsn, pair.target_dsn)]
        answer = bare("move", "--queue", "q", "--from", pair_of_role[0], "--to", pair_of_role[1], "--yes")
        assert answer.code == code, answer
        if code:
            assert "the user underway_worker may not move tasks at the source: grant underway_operator" in answer.err


def test_wrong_usage_is_said_in_one_line(bare: Underway, pair: Pair) -> None:
    assert_refused(bare("move", *pair.arguments()), 2, "there is no terminal to ask on: add --yes, or --dry-run")
    assert_refused(bare("move", *pair.arguments("--yes", queue="nowhere")), 1, "queue 'nowhere' does not exist")
    pair.source.create_queue("q")
    answer = bare("move", *pair.arguments("--yes"))
    assert (answer.code, answer.err.splitlines()[0]) == (0, "queue q, from shard 3 to shard 5: 0 tasks to move")
    assert pair.source.value("select paused_at is null from underway.queue"), "without a task nothing is paused"


def test_a_target_that_has_lost_batches_is_refused(move: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    pair.source.enqueue("q")
    move()
    pair.target.run("delete from underway.incoming_move")
    (task,) = pair.source.enqueue("q")
    answer = move()
    assert answer.code == 1
    assert "and the last one received is none" in answer.err
    assert "restored from a backup" in answer.err
    assert pair.on_the_way() == {task}

    pair.source.run("update underway.outgoing_move set previous = null where shard = 5")
    assert move("--json").json["moved"] == 1, "as the guide says"
    assert task in pair.runnable()[1]


def test_tasks_on_the_way_can_be_taken_back_when_the_target_is_lost(pair: Pair) -> None:
    pair.source.create_queue("q")
    tasks = pair.source.enqueue("q", 3)
    pair.source.run("select underway.begin_move_batch(5, 'q', null, 0, %s)", 2**62)
    assert pair.on_the_way() == set(tasks)
    pair.source.run("""
        select underway.confirm_move_batch(m.shard, m.batch, array(
            select (task ->> 'id')::bigint from jsonb_array_elements(m.tasks) as task
        ))
        from underway.outgoing_move m where m.shard = 5""")
    assert pair.runnable() == (set(tasks), set())
    assert pair.source.claim_ids("q", 3) == tasks


def test_an_error_of_the_target_says_that_the_command_goes_on(move: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    (task,) = pair.source.enqueue("q")
    pair.target.run("alter table underway.task add constraint no check (queue <> 'q')")
    answer = move()
    assert answer.code == 1
    assert "0 tasks moved before this error; the same command goes on where it stopped:\n" in answer.err
    pair.target.run("alter table underway.task drop constraint no")
    assert move("--json").json["moved"] == 1
    assert pair.runnable() == (set(), {task})


def test_a_late_batch_of_a_killed_move_is_refused(pair: Pair, move: Underway) -> None:
    """Its statement may have waited at the target while the next command moved the batch, and the one after it."""
    pair.source.create_queue("q")
    pair.source.enqueue("q", 2)
    late = pair.source.rows("select id, previous, tasks::text from underway.begin_move_batch(5, 'q', null, 0, %s, 1)",
        2**62)[0]  # fmt: skip
    assert move("--json").json["moved"] == 2
    with pytest.raises(psycopg.Error, match="follows batch"):
        pair.target.run("select underway.receive_move_batch(3, %s, %s, %s::jsonb)", late[1], late[0], late[2])
    assert len(pair.runnable()[1]) == 2
