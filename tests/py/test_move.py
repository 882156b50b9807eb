"""`underway move`: what moves, and what stays."""

from __future__ import annotations

from typing import Any

from tests.py.move_support import SOURCE, TARGET, Pair, bare, move, pair
from tests.py.test_cli import Underway

__all__ = ["bare", "move", "pair"]

COLUMNS = """id, ready_at, enqueued_at, started_at, expires_at, worker, priority, attempt, state::text, unique_key,
    unique_until_start, concurrency_key, job, input, headers, progress, errors, dead_letter, retry_policy::text,
    timeout, heartbeat, retention"""


def test_a_queue_moves_with_its_settings_its_jobs_and_all_columns_of_its_tasks(move: Underway, pair: Pair) -> None:
    pair.source.create_queue("worse")
    pair.source.create_queue("dead", "dead_letter_queue => 'worse'")
    pair.source.create_queue("q", "dead_letter_queue => 'dead', max_running => 7, retention => '3 days', fair => true")
    pair.source.create_queue("other")
    pair.source.run("select underway.register_job('send', 'q', timeout => '7 min', priority => 3)")
    pair.source.run("select underway.register_job('elsewhere', 'other')")
    pair.source.enqueue("other")
    pair.source.run("select underway.enqueue('q', 'null', job => 'send')")
    pair.source.run("""select underway.enqueue(
        'q', '{"n": [null, 1.10, 1e300]}', run_at => '2060-01-01', priority => -9, expires_at => '2061-01-01',
        headers => '{"trace": null}', unique_key => 'k', concurrency_key => 'acme',
        retention => '1 month 2 days 03:04:05.678',
        retry_policy => underway.retry_policy(factor => 1.1, jitter => 0.3))""")
    ((task, lease),) = pair.source.claim("q")
    pair.source.run("""select underway.fail(%s, %s, '{"message": "no"}', retry_after => '1 hour')""", task, lease)
    query = f"select {COLUMNS} from underway.task where queue = 'q' order by id"
    before = pair.source.rows(query)
    answer = move()
    assert (answer.code, answer.out) == (
        0, "2 tasks moved to shard 5\nqueue q stays paused at the source; the same command moves what is enqueued there"
        " from now on\n",
    )  # fmt: skip
    assert pair.target.rows(query) == before
    settings = "select * from underway.queue_list where queue <> 'other' order by 1"
    assert pair.target.rows(settings) == pair.source.rows(settings)
    policy = "select job, queue, timeout, priority from underway.job_list where queue = 'q'"
    assert pair.target.rows(policy) == pair.source.rows(policy)
    assert pair.target.column("select queue from underway.queue_list order by 1") == ["dead", "q", "worse"]
    assert pair.source.column("select queue from underway.task") == ["other"]
    assert pair.source.value("select paused_at is not null from underway.queue where name = 'q'")
    assert pair.target.value("select paused_at is null from underway.queue where name = 'q'")


def test_a_key_moves_alone_and_is_paused_alone(move: Underway, pair: Pair) -> None:
    for side in (pair.source, pair.target):
        side.create_queue("q", "max_running_per_key => 2")
    acme = pair.source.enqueue("q", 5, "concurrency_key => 'acme'")
    stay = pair.source.enqueue("q", 2, "concurrency_key => 'other'") + pair.source.enqueue("q")
    unique = pair.source.value("select underway.enqueue('q', unique_key => 'acme')")
    assert move("--key", "acme", "--json").json["moved"] == 5
    assert pair.runnable() == ({*stay, unique}, set(acme))
    late = pair.source.enqueue("q", 1, "concurrency_key => 'acme'")
    assert sorted(pair.source.claim_ids("q", 10)) == sorted([*stay, unique])
    assert pair.target.claim_ids("q", 10) == acme[:2]
    assert move("--key", "acme", "--json").json["moved"] == 1
    assert late[0] in pair.runnable()[1]
    assert pair.source.column("select concurrency_key from underway.paused_key") == ["acme"]


def test_a_dry_run_shows_what_would_move_and_changes_nothing(bare: Underway, pair: Pair) -> None:
    pair.source.create_queue("q", "dead_letter_queue => null")
    pair.source.run("select underway.register_job('send', 'q')")
    pair.source.run("select underway.schedule('nightly', 'q', '@daily')")
    tasks = pair.source.enqueue("q", 4)
    pair.source.run("select underway.enqueue('q', after => array[%s::bigint])", tasks[0])
    (running,) = pair.source.claim_ids("q")
    answer = bare("move", *pair.arguments("--dry-run"))
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "queue q, from shard 3 to shard 5: 3 tasks to move",
        f"1 task running: {running}",
        "1 task of batches or dependencies, which cannot be moved",
        "queues to be created at the target: q",
        "jobs to be created at the target: send",
        "schedules that enqueue into it at the source, and stay: nightly",
    ]
    found = bare("move", *pair.arguments("--dry-run", "--json")).json
    assert found == {
        "queue": "q", "key": None, "from": SOURCE, "to": TARGET, "moved": 0, "refused": [],
        "left": {"movable": 3, "running": 1, "dependent": 1}, "on_the_way": 0, "queues_to_create": ["q"],
        "jobs_to_create": ["send"], "schedules": ["nightly"], "interrupted": False,
    }  # fmt: skip
    assert len(pair.runnable()[0]) == 5
    assert pair.source.value("select paused_at is null from underway.queue")
    assert pair.target.column("select queue from underway.queue_list") == []


def test_settings_of_a_queue_that_exists_at_the_target_stay(bare: Underway, pair: Pair) -> None:
    pair.source.create_queue("q", "max_running => 7")
    pair.target.create_queue("q", "retention => '1 day'")
    pair.source.enqueue("q")
    answer = bare("move", *pair.arguments("--yes"))
    assert "settings of the queue that differ at the target, and stay: retention, max_running\n" in answer.err
    assert pair.target.rows("select max_running from underway.queue") == [(None,)]


def test_running_tasks_are_waited_for_and_else_nothing_is_moved(move: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    tasks = pair.source.enqueue("q", 3)
    ((running, lease),) = pair.source.claim("q")
    answer = move("--wait", "0.1")
    assert answer.code == 1
    assert f"1 task still running after 0.1 s: {running}; nothing was moved, and the source was resumed" in answer.err
    assert pair.runnable() == (set(tasks), set())
    assert pair.source.value("select paused_at is null from underway.queue")

    assert move("--wait", "0", "--partial", "--json").json["left"] == {"movable": 0, "running": 1, "dependent": 0}
    assert pair.runnable() == ({running}, set(tasks) - {running})
    pair.source.run("select underway.release(%s, %s)", running, lease)
    assert move("--json").json["moved"] == 1
    assert pair.runnable() == (set(), set(tasks))


def test_tasks_of_batches_and_dependencies_are_not_moved(move: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    (plain, first), batch = (
        pair.source.enqueue("q", 2),
        pair.source.value("""select underway.enqueue_batch('[{"queue": "q"}]')"""),
    )
    (member,) = pair.source.column("select task from underway.batch_task")
    after = pair.source.value("select underway.enqueue('q', after => array[%s::bigint])", first)
    answer = move()
    assert answer.code == 1
    assert f"3 tasks of batches or dependencies cannot be moved: {first}, {member}, {after}" in answer.err
    assert pair.runnable()[1] == set()
    assert pair.source.value("select paused_at is null from underway.queue")

    assert move("--partial", "--json").json["left"] == {"movable": 0, "running": 0, "dependent": 3}
    assert pair.runnable() == ({first, member, after}, {plain})
    pair.source.run("select underway.resume_queue('q')")
    for task, lease in pair.source.claim("q", 10):
        pair.source.run("select underway.complete(%s, %s)", task, lease)
    assert pair.source.rows("select final_at is not null from underway.batch where id = %s", batch) == [(True,)]
    assert move("--json").json["moved"] == 1
    assert pair.runnable() == (set(), {plain, after})


def test_a_task_whose_unique_key_the_target_has_stays(move: Underway, pair: Pair) -> None:
    for side in (pair.source, pair.target):
        side.create_queue("q")
    here = pair.target.value("select underway.enqueue('q', unique_key => 'k')")
    there = pair.source.value("select underway.enqueue('q', unique_key => 'k', unique_for => '1 hour')")
    plain = pair.source.enqueue("q")
    answer = move()
    assert answer.code == 1
    assert (
        f"1 task refused by the target and put back, because another task has the unique key: {there}\n" in answer.err
    )
    assert pair.runnable() == ({there}, {here, *plain})
    assert pair.source.value("select underway.enqueue('q', unique_key => 'k')") == there
    pair.target.run("select underway.cancel(%s)", here)
    assert move("--json").json["moved"] == 1
    assert pair.runnable() == (set(), {there, *plain})
    ((task, lease),) = [row for row in pair.target.claim("q", 2) if row[0] == there]
    pair.target.run("select underway.complete(%s, %s)", task, lease)
    assert pair.target.value("select underway.enqueue('q', unique_key => 'k')") == there, (
        "its unique_for has moved, too"
    )


def test_a_dead_letter_is_redriven_at_the_target(bare: Underway, pair: Pair) -> None:
    pair.source.create_queue("dead")
    pair.source.create_queue("q", "dead_letter_queue => 'dead', retry_policy => underway.retry_policy(1)")
    (failed,) = pair.source.enqueue("q")
    ((task, lease),) = pair.source.claim("q")
    pair.source.run("""select underway.fail(%s, %s, '{"message": "no"}')""", task, lease)
    assert bare("move", *pair.arguments("--yes", queue="q")).code == 0
    assert bare("move", *pair.arguments("--yes", queue="dead")).code == 0
    pair.target.create_queue("q")
    assert pair.target.value("select underway.redrive('dead', 10)") == 1
    assert pair.runnable() == (set(), {failed})
    assert [error["message"] for error in pair.target.errors(failed)] == ["no"]


def test_the_order_of_tasks_stays(move: Underway, pair: Pair) -> None:
    for side in (pair.source, pair.target):
        side.create_queue("q")
    first = pair.source.enqueue("q", 2)
    own = pair.target.enqueue("q", 2)
    low = pair.source.enqueue("q", 1, "priority => -5")
    last = pair.source.enqueue("q", 2)
    high = pair.source.enqueue("q", 1, "priority => 5")
    pair.target.claim_ids("q", 0)
    move()
    assert pair.target.claim_ids("q", 10) == [*high, *first, *own, *last, *low]


def test_large_inputs_move_in_small_batches(move: Underway, pair: Pair) -> None:
    pair.source.create_queue("q")
    pair.source.run("""select underway.enqueue_many('q', array(
        select to_jsonb(repeat(md5(n::text), 31000)) from generate_series(1, 20) n))""")
    inputs = "select md5(input::text) from underway.task order by id"
    before: list[Any] = pair.source.column(inputs)
    assert move("--json").json["moved"] == 20
    assert pair.target.column(inputs) == before
    assert pair.source.value("select count(*) from underway.audit where action = 'move'") == 3
