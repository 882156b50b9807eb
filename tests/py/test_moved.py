"""What the two databases say of tasks that were moved."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.py.move_support import TARGET, Pair, bare, move, pair
from tests.py.support import Session, refused
from tests.py.test_cli import Answer, Underway
from underway_pg import App
from underway_pg.errors import TaskNotFound

__all__ = ["bare", "move", "pair"]


def back(bare: Underway, pair: Pair, *arguments: object) -> Answer:
    """The command in the other direction."""
    return bare("move", "--queue", "q", "--from", pair.target_dsn, "--to", pair.source_dsn, "--yes", *arguments)


def test_the_source_says_where_a_task_has_gone(move: Underway, bare: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    (task,) = pair.source.enqueue("q")
    with App(pair.source_dsn) as app:
        assert pair.source.value("select underway.watch(%s)", task) == "pending"
        move()
        with pytest.raises(TaskNotFound, match=f"task {task} was moved to shard {TARGET} at ") as error:
            app.wait_for(task, timeout=10)
        assert error.value.moved_to == TARGET
        with pytest.raises(TaskNotFound) as error:
            app.wait_for(task + 1, timeout=10)
        assert error.value.moved_to is None
    for command in ("task", "why", "cancel", "retry", "wait"):
        answer = bare(command, task, "--dsn", pair.source_dsn)
        assert answer.code == 1
        assert f"task {task} was moved to shard {TARGET} at " in answer.err, command
    with refused("UW004", "was moved to shard"):
        pair.source.run("select underway.enqueue('q', after => array[%s::bigint])", task)


def test_commands_with_both_databases_find_a_task_that_was_moved(move: Underway, bare: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    task, other = pair.source.enqueue("q", 2)
    move()
    (stays,) = pair.source.enqueue("q")

    def run(command: str, *arguments: object) -> Answer:
        return bare(command, *arguments, "--dsn", pair.source_dsn, "--dsn", pair.target_dsn)

    assert run("task", task, "--json").json["state"] == "pending"
    assert run("why", task).code == 0
    assert run("reprioritize", task, 7).out == f"task {task}: priority 7\n"
    assert run("reschedule", task, "0").code == 0
    copy = int(run("run-again", task).out)
    assert pair.target.state(copy) == "pending"
    answer = run("cancel", other, stays, task, 123456789 + (TARGET << 44), "--json")
    assert answer.json["cancelled"] == [other, stays, task]
    assert [each["id"] for each in answer.json["refused"]] == [123456789 + (TARGET << 44)]
    assert [pair.target.state(id) for id in (task, other)] == ["cancelled", "cancelled"]
    assert run("retry", task).out == f"task {task}: retried\n"
    actions = pair.target.column("select action from underway.audit order by id")
    assert actions[-5:] == ["reprioritize", "reschedule", "run_again", "cancel", "retry"]


def test_a_task_that_was_moved_twice_is_found_and_one_that_went_elsewhere_is_not(
    databases: Callable[[int], str], bare: Underway
) -> None:
    one, two, three = (databases(number) for number in (1, 2, 3))
    with Session(one) as session:
        session.create_queue("q")
        (task,) = session.enqueue("q")
    for source, target in ((one, two), (two, three)):
        move = bare("move", "--queue", "q", "--from", source, "--to", target, "--yes")
        assert move.code == 0
    assert bare("cancel", task, "--dsn", one, "--dsn", two, "--dsn", three).out == f"task {task}: cancelled\n"
    answer = bare("reprioritize", task, 1, "--dsn", one, "--dsn", two)
    assert answer.code == 1
    assert f"task {task} was moved to shard 3" in answer.err


def test_a_client_that_waits_already_learns_of_the_move_at_once(move: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    (task,) = pair.source.enqueue("q")
    pair.source.run("select underway.watch(%s)", task)
    pair.source.run("listen underway_finished")
    move()
    heard = [each.payload for each in pair.source.connection.notifies(timeout=10, stop_after=1)]
    assert heard == [str(task)]


def test_a_task_may_come_back(move: Underway, bare: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    tasks = pair.source.enqueue("q", 3)
    move()
    assert "queue q is paused at the target, too: underway queue resume q\n" in back(bare, pair).out
    assert pair.runnable() == (set(tasks), set())
    assert pair.source.state(tasks[0]) == "pending"
    assert pair.source.column("select id from underway.moved_task") == []
    assert sorted(pair.target.column("select id from underway.moved_task")) == tasks


def test_a_moved_task_is_counted_as_enqueued_once_and_where_it_was(move: Underway, pair: Pair) -> None:
    for side in (pair.source, pair.target):
        side.create_queue("q")
    pair.target.enqueue("q", 2)
    pair.source.enqueue("q", 5)
    move()
    pair.source.enqueue("q", 1)
    for side in (pair.source, pair.target):
        for _ in range(3):
            side.run("select underway.maintain(at_once => true)")
    counted = "select sum(enqueued)::integer from underway.task_stat where step = 'total' and queue = 'q'"
    assert (pair.source.value(counted), pair.target.value(counted)) == (6, 2)


def test_a_search_by_time_finds_a_task_that_was_moved_here(move: Underway, bare: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    (old,) = pair.source.enqueue("q")
    pair.source.run("update underway.task set enqueued_at = now() - interval '1 day'")
    move()
    own = pair.target.enqueue("q", 3000)
    pair.target.run("update underway.task set enqueued_at = now() - interval '5 days' where id <> %s", old)

    def found(*filter: str) -> list[int]:
        tasks = bare("tasks", *filter, "--all", "--json", "--dsn", pair.target_dsn).json
        return sorted(task["id"] for task in tasks)

    assert found("--enqueued-after", "2d") == [old]
    assert found("--enqueued-before", "2d") == own


def test_both_databases_record_who_moved_what(move: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    pair.source.enqueue("q", 2)
    move()
    query = "select action, details -> 'tasks', details -> 'to', actor <> '' from underway.audit order by id"
    assert pair.source.rows(query) == [("pause_to_move", None, TARGET, True), ("move", 2, TARGET, True)]
    assert pair.target.rows(query) == [("create_for_move", None, TARGET, True), ("receive_move", 2, TARGET, True)]
