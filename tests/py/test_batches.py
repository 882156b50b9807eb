"""Batches and dependencies between sessions: what waits runs once, is never forgotten, and keeps nobody waiting."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest

from tests.py.support import Session, at_once, refused
from tests.servers import Server

OpenSession = Callable[..., Session]

CANNOT_SERIALIZE = "40001"
TASK_NOT_FOUND, WRONG_STATE, BATCH_FINAL = "UW004", "UW005", "UW013"

# What must never be after maintain: a task that waits for what is there, or for a task of whose end nobody will learn.
FORGOTTEN = """
    select t.id, f.event
    from underway.task t
    left join underway.dependent f on f.task = t.id
    cross join lateral (
        select count(*) filter (where m.outcome is null) as live, count(m.outcome) as ended
        from underway.batch_task m
        where m.batch = f.batch
    ) tasks
    where t.state = 'waiting'
      and case f.event
          when 'success' then tasks.live + tasks.ended = 0
          when 'final' then tasks.live = 0
          when 'failure' then tasks.ended > 0
          else true
      end
    union all
    select m.task, 'nobody will learn of its end'
    from underway.batch_task m
    where m.outcome is null
      and not exists (select from underway.task t where t.id = m.task and t.in_batch)
    union all
    select m.task, 'it has come back, or succeeded'
    from underway.batch_task m
    where m.outcome is not null
      and not exists (select from underway.task_history h where h.id = m.task and h.state = m.outcome)"""


TABLES = "task, task_history, batch, batch_task, dependent, batch_to_reevaluate, unique_reservation"


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[str]:
    """One for all of them, for each is short."""
    with server.database() as dsn:
        yield dsn


@pytest.fixture
def open_session(database: str) -> Iterator[OpenSession]:
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Session(database, **options))


@pytest.fixture
def session(open_session: OpenSession) -> Iterator[Session]:
    session = open_session()
    session.run("truncate " + ", ".join(f"underway.{table}" for table in TABLES.split(", ")))
    session.create_queue("q")
    session.create_queue("callbacks")
    yield session
    maintain(session)
    assert session.rows(FORGOTTEN) == []


@pytest.fixture
def one(session: Session, open_session: OpenSession) -> Session:
    return open_session(impatient=True)


@pytest.fixture
def other(session: Session, open_session: OpenSession) -> Session:
    return open_session(impatient=True)


def maintain(session: Session) -> None:
    session.run("select underway._run_chores()")


@dataclass
class Batch:
    """A batch whose tasks are claimed: with their leases, and the tasks that wait for it, by their events."""

    id: int
    leases: dict[int, str] = field(default_factory=dict)
    callbacks: dict[str, int] = field(default_factory=dict)

    @property
    def tasks(self) -> list[int]:
        return list(self.leases)


CALLBACK = '{"queue": "callbacks"}'
EVENTS = ("success", "final", "failure")


def claimed_batch(session: Session, count: int) -> Batch:
    """A batch of so many tasks of q that run, with a callback for each event."""
    id = session.value(
        "select underway.enqueue_batch((select coalesce(jsonb_agg(jsonb_build_object('queue', 'q', 'input', n)), '[]')"
        f" from generate_series(1, %s) n), '{CALLBACK}', '{CALLBACK}', '{CALLBACK}')",
        count,
    )
    batch = Batch(id, {task: str(lease) for task, lease in session.claim("q", count or 1)})
    stats = session.rows("select on_success, on_final, on_failure from underway.batch_stats where batch = %s", id)
    batch.callbacks = dict(zip(EVENTS, stats[0], strict=True))
    return batch


def states(session: Session, batch: Batch) -> dict[str, str | None]:
    return {event: session.state(task) for event, task in batch.callbacks.items()}


WAITING = dict.fromkeys(EVENTS, "waiting")
SUCCEEDED = {"success": "pending", "final": "pending", "failure": "cancelled"}
FAILING = {**WAITING, "failure": "pending"}
FAILED = {"success": "waiting", "final": "pending", "failure": "pending"}

# Each way in which a task ends.
END: dict[str, Callable[[Session, int, str], None]] = {
    "complete": lambda s, id, lease: s.run("select underway.complete(%s, %s)", id, lease),
    "fail": lambda s, id, lease: s.run("select underway.fail(%s, %s, '1', retryable => false)", id, lease),
    "cancel": lambda s, id, lease: s.run("select underway.cancel(%s)", id),
}


def end(session: Session, batch: Batch, number: int, how: str = "complete") -> None:
    """End the n-th task of a batch."""
    task, lease = list(batch.leases.items())[number]
    END[how](session, task, lease)


# The last two tasks at once


@pytest.mark.parametrize(
    "how", [("complete", "complete"), ("complete", "fail"), ("fail", "complete"), ("cancel", "fail")]
)
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("between", [False, True])
def test_two_who_end_the_last_two_tasks_in_transactions_that_overlap_forget_nothing(
    session: Session, one: Session, other: Session, how: tuple[str, str], first: int, between: bool
) -> None:
    batch = claimed_batch(session, 3)
    end(session, batch, 0)
    one.run("begin")
    end(one, batch, 1, how[0])
    other.run("begin")
    end(other, batch, 2, how[1])
    for each in (one, other) if first == 0 else (other, one):
        each.run("commit")
        if between:  # one of the two is not committed yet, and maintain must not lose the batch over it
            maintain(session)
    maintain(session)
    assert states(session, batch) == (SUCCEEDED if set(how) == {"complete"} else FAILED)
    maintain(session)
    assert sorted(session.claim_ids("callbacks", 10)) == sorted(
        task for event, task in batch.callbacks.items() if session.state(task) == "in_progress"
    )
    assert session.column("select batch from underway.batch_to_reevaluate") == []


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("first", [0, 1])
def test_when_one_of_the_two_is_rolled_back_the_batch_ends_with_its_task(
    session: Session, one: Session, other: Session, lost: int, first: int
) -> None:
    batch = claimed_batch(session, 2)
    sessions = [one, other]
    for number, each in enumerate(sessions):
        each.run("begin")
        end(each, batch, number)
    for number in (first, 1 - first):
        sessions[number].run("rollback" if number == lost else "commit")
        maintain(session)
    assert states(session, batch) == WAITING
    end(session, batch, lost)
    assert states(session, batch) == SUCCEEDED


def test_when_both_are_rolled_back_nothing_has_become_of_the_batch(
    session: Session, one: Session, other: Session
) -> None:
    batch = claimed_batch(session, 2)
    for number, each in enumerate([one, other]):
        each.run("begin")
        end(each, batch, number, "fail")
    for each in (one, other):
        each.run("rollback")
    maintain(session)
    assert states(session, batch) == WAITING
    end(session, batch, 0)
    end(session, batch, 1)
    maintain(session)
    assert states(session, batch) == SUCCEEDED


def test_a_savepoint_that_is_rolled_back_ends_nothing(session: Session, one: Session) -> None:
    batch = claimed_batch(session, 2)
    one.run("begin")
    one.run("savepoint s")
    end(one, batch, 0, "fail")
    one.run("rollback to s")
    end(one, batch, 1)
    one.run("commit")
    maintain(session)
    assert states(session, batch) == WAITING
    end(session, batch, 0)
    assert states(session, batch) == SUCCEEDED


def test_the_first_failures_of_two_sessions_run_what_waits_for_a_failure_once(
    session: Session, one: Session, other: Session
) -> None:
    batch = claimed_batch(session, 3)
    for number, each in enumerate([one, other]):
        each.run("begin")
        end(each, batch, number, "fail")
    one.run("commit")
    assert session.claim_ids("callbacks", 10) == [batch.callbacks["failure"]]
    other.run("commit")
    maintain(session)
    assert session.claim_ids("callbacks", 10) == []


def test_what_waits_runs_as_soon_as_the_last_of_tasks_that_end_one_after_the_other(
    session: Session, one: Session, other: Session
) -> None:
    """Without upkeep: only who ends a task while another does leaves it a batch."""
    batch = claimed_batch(session, 4)
    for number, each in enumerate([one, other, one, other]):
        assert states(session, batch) == WAITING
        end(each, batch, number)
    assert states(session, batch) == SUCCEEDED
    assert session.column("select batch from underway.batch_to_reevaluate") == []


def test_one_transaction_may_end_all_tasks_one_by_one(session: Session, one: Session) -> None:
    batch = claimed_batch(session, 3)
    one.run("begin")
    for number in range(3):
        end(one, batch, number)
    one.run("commit")
    assert states(session, batch) == SUCCEEDED


# Retries


@pytest.mark.parametrize("committed", [True, False])
def test_a_retry_while_the_last_task_ends(session: Session, one: Session, other: Session, committed: bool) -> None:
    batch = claimed_batch(session, 2)
    end(session, batch, 0, "fail")
    one.run("begin")
    one.run("select underway.retry(%s)", batch.tasks[0])
    end(other, batch, 1)
    assert states(session, batch) == FAILED
    one.run("commit" if committed else "rollback")
    if not committed:
        session.run("select underway.retry(%s)", batch.tasks[0])
    ((task, lease),) = session.claim("q")
    assert task == batch.tasks[0]
    END["complete"](session, task, str(lease))
    assert states(session, batch) == {**FAILED, "success": "pending"}


def test_two_retried_tasks_that_succeed_at_once(session: Session, one: Session, other: Session) -> None:
    batch = claimed_batch(session, 2)
    for number in range(2):
        end(session, batch, number, "fail")
        session.run("select underway.retry(%s)", batch.tasks[number])
    assert states(session, batch) == FAILING
    again = session.claim("q", 2)
    for each, (task, lease) in zip([one, other], again, strict=True):
        each.run("begin")
        END["complete"](each, task, str(lease))
    other.run("commit")
    one.run("commit")
    maintain(session)
    assert states(session, batch) == {**FAILED, "success": "pending"}


@pytest.mark.parametrize("first", ["join", "retry"])
def test_a_task_that_is_retried_while_another_is_made_to_come_after_it(
    session: Session, one: Session, other: Session, first: str
) -> None:
    (task,) = session.enqueue("q")
    END["cancel"](session, task, "")
    other.run("set lock_timeout = '15s'")
    join, retry = (
        f"select underway.enqueue('callbacks', after => array[{task}::bigint])",
        f"select underway.retry({task})",
    )
    one.run("begin")
    one.run(join if first == "join" else retry)
    second = other.start(retry if first == "join" else join)
    one.see_waiting(other, behind=one)
    one.run("commit")
    second.result()
    (after,) = session.column("select id from underway.task where queue = 'callbacks'")
    assert (session.state(task), session.state(after)) == ("pending", "waiting")
    ((_, lease),) = session.claim("q")
    END["complete"](session, task, str(lease))
    assert session.claim_ids("callbacks") == [after]


# Coming after what is just ending

AFTER = "select underway.enqueue('callbacks', after => %s::bigint[], after_failure => %s)"


@pytest.mark.parametrize("how", END)
@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("after_failure", ["wait", "fail", "run"])
def test_who_comes_after_a_task_that_is_just_ending_waits_for_that(
    session: Session, one: Session, other: Session, how: str, committed: bool, after_failure: str
) -> None:
    (task,) = session.enqueue("q")
    ((_, lease),) = session.claim("q")
    one.run("begin")
    END[how](one, task, str(lease))
    other.run("set lock_timeout = '15s'")
    joined = other.start(AFTER, [task], after_failure)
    one.see_waiting(other, behind=one)
    one.run("commit" if committed else "rollback")
    (after,) = joined.result()
    ended = "pending" if how == "complete" else {"wait": "waiting", "fail": "failed", "run": "pending"}[after_failure]
    assert session.state(after) == (ended if committed else "waiting")
    if not committed:
        END[how](session, task, str(lease))
        assert session.state(after) == ended


@pytest.mark.parametrize("how", END)
@pytest.mark.parametrize("committed", [True, False])
def test_a_task_that_is_being_joined_ends_when_that_is_known(
    session: Session, one: Session, other: Session, how: str, committed: bool
) -> None:
    (task,) = session.enqueue("q")
    ((_, lease),) = session.claim("q")
    one.run("begin")
    after = one.value(AFTER, [task], "run")
    other.run("set lock_timeout = '15s'")
    ending = {
        "complete": f"select underway.complete({task}, '{lease}')",
        "fail": f"select underway.fail({task}, '{lease}', '1', retryable => false)",
        "cancel": f"select underway.cancel({task})",
    }[how]
    ended = other.start(ending)
    one.see_waiting(other, behind=one)
    one.run("commit" if committed else "rollback")
    ended.result()
    assert session.state(after) == ("pending" if committed else None)


def test_a_task_that_is_being_joined_is_passed_over_by_claims(session: Session, one: Session, other: Session) -> None:
    first, second = session.enqueue("q", 2)
    one.run("begin")
    after = one.value(AFTER, [first], "wait")
    assert other.claim_ids("q", 10) == [second]
    one.run("commit")
    assert other.claim_ids("q", 10) == [first]
    assert session.state(after) == "waiting"


def test_who_comes_after_tasks_in_opposite_orders_waits_in_no_circle(database: str, session: Session) -> None:
    tasks = session.enqueue("q", 20)

    def join(number: int) -> list[int]:
        with Session(database) as mine:
            draw = random.Random(number)
            return [mine.value(AFTER, draw.sample(tasks, 10), "wait") for _ in range(20)]

    after = list(itertools.chain(*at_once(join, 6)))
    claimed = session.claim("q", 20)
    session.run("select from underway.complete_many(%s, %s)", *map(list, zip(*claimed, strict=True)))
    assert sorted(session.claim_ids("callbacks", 1000)) == sorted(after)


# Extending


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("first", ["extend", "end"])
def test_extending_while_the_last_task_ends(
    session: Session, one: Session, other: Session, committed: bool, first: str
) -> None:
    """Who ends the task waits for nobody; what becomes of the batch is seen when both have committed."""
    batch = claimed_batch(session, 1)
    one.run("begin")
    (more,) = one.value('select underway.extend_batch(%s, \'[{"queue": "q"}]\')', batch.id)
    if first == "extend":
        end(other, batch, 0)
        assert states(session, batch) == WAITING
        maintain(session)
        assert states(session, batch) == WAITING
        one.run("commit" if committed else "rollback")
    else:
        other.run("begin")
        end(other, batch, 0)
        one.run("commit" if committed else "rollback")
        maintain(session)
        other.run("commit")
    maintain(session)
    assert states(session, batch) == (WAITING if committed else SUCCEEDED)
    if committed:
        ((task, lease),) = session.claim("q")
        assert task == more
        END["complete"](session, task, str(lease))
        assert states(session, batch) == SUCCEEDED


@pytest.mark.parametrize("committed", [True, False])
def test_who_extends_while_the_last_task_has_ended_waits_and_is_refused(
    session: Session, one: Session, other: Session, committed: bool
) -> None:
    batch = claimed_batch(session, 1)
    one.run("begin")
    end(one, batch, 0)
    other.run("set lock_timeout = '15s'")
    extending = other.start('select underway.extend_batch(%s, \'[{"queue": "q"}]\')', batch.id)
    one.see_waiting(other, behind=one)
    one.run("commit" if committed else "rollback")
    if committed:
        with refused(BATCH_FINAL, f"all tasks of batch {batch.id} are final since"):
            extending.result()
        assert states(session, batch) == SUCCEEDED
    else:
        extending.result()
        end(session, batch, 0)
        assert states(session, batch) == WAITING


def test_the_last_task_extends_its_batch_in_the_transaction_of_its_end(session: Session, one: Session) -> None:
    batch = claimed_batch(session, 1)
    one.run("begin")
    one.run('select underway.extend_batch(%s, \'[{"queue": "q"}]\')', batch.id)
    end(one, batch, 0)
    one.run("commit")
    assert states(session, batch) == WAITING
    ((task, lease),) = session.claim("q")
    END["complete"](session, task, str(lease))
    assert states(session, batch) == SUCCEEDED


# Old snapshots


@pytest.mark.parametrize("in_batch", [True, False])
def test_under_repeatable_read_no_end_is_missed_by_who_came_after_it_meanwhile(
    session: Session, one: Session, in_batch: bool
) -> None:
    (task,) = session.enqueue("q")
    ((_, lease),) = session.claim("q")
    if in_batch:
        session.value(AFTER, [task], "wait")
    one.run("begin isolation level repeatable read")
    one.run("select from underway.task")
    after = session.value(AFTER, [task], "wait")
    with refused(CANNOT_SERIALIZE):
        END["complete"](one, task, str(lease))
    one.run("rollback")
    assert session.state(after) == "waiting"
    END["complete"](one, task, str(lease))
    assert session.state(after) == "pending"


def test_under_repeatable_read_no_retry_is_missed_by_who_came_after_the_task_meanwhile(
    session: Session, one: Session
) -> None:
    (task,) = session.enqueue("q")
    END["cancel"](session, task, "")
    one.run("begin isolation level repeatable read")
    one.run("select from underway.task")
    after = session.value(AFTER, [task], "wait")
    one.run("select underway.retry(%s)", task)
    one.run("commit")
    assert session.state(after) == "waiting"
    ((_, lease),) = session.claim("q")
    END["complete"](session, task, str(lease))
    maintain(session)
    assert session.state(after) == "pending"


def test_under_repeatable_read_the_end_of_a_batch_is_seen_by_maintain(session: Session, one: Session) -> None:
    batch = claimed_batch(session, 2)
    one.run("begin isolation level repeatable read")
    one.run("select from underway.task")
    end(session, batch, 0)
    end(one, batch, 1)
    one.run("commit")
    maintain(session)
    assert states(session, batch) == SUCCEEDED


def test_under_repeatable_read_a_retry_that_has_succeeded_meanwhile_is_seen_by_maintain(
    session: Session, one: Session
) -> None:
    batch = claimed_batch(session, 2)
    end(session, batch, 0, "fail")
    one.run("begin isolation level repeatable read")
    one.run("select from underway.task")
    session.run("select underway.retry(%s)", batch.tasks[0])
    ((task, lease),) = session.claim("q")
    END["complete"](session, task, str(lease))
    end(one, batch, 1)
    one.run("commit")
    maintain(session)
    assert states(session, batch) == {**FAILED, "success": "pending"}


def test_under_repeatable_read_what_comes_after_a_finished_task_is_released_by_maintain(
    session: Session, one: Session
) -> None:
    (task,) = session.enqueue("q")
    ((_, lease),) = session.claim("q")
    END["complete"](session, task, str(lease))
    one.run("begin isolation level repeatable read")
    after = one.value(AFTER, [task], "wait")
    one.run("commit")
    maintain(session)
    assert session.state(after) == "pending"


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_maintain_refuses_a_transaction_that_does_not_see_what_others_commit(one: Session, level: str) -> None:
    one.run(f"begin isolation level {level}")
    with refused("UW001", f"maintain needs the isolation level read committed; this transaction is {level}"):
        one.run("select underway._run_chores()")
    one.run("rollback")


# Settlements that are rolled back

TO_REEVALUATE = "select batch from underway.batch_to_reevaluate"


@pytest.mark.parametrize("how", END)
@pytest.mark.parametrize("savepoint", [False, True])
def test_a_rolled_back_settlement_of_the_last_task_costs_one_evaluation_and_no_more(
    session: Session, one: Session, how: str, savepoint: bool
) -> None:
    batch = claimed_batch(session, 1)
    one.run("begin")
    if savepoint:
        one.run("savepoint s")
    end(one, batch, 0, how)
    session.run("insert into underway.batch_to_reevaluate (batch) values (%s)", batch.id)
    maintain(session)
    assert session.column(TO_REEVALUATE) == [batch.id], "the settlement may still commit"
    one.run("rollback to s" if savepoint else "rollback")
    maintain(session)
    assert session.column(TO_REEVALUATE) == []
    if savepoint:
        one.run("commit")
    end(session, batch, 0)
    assert states(session, batch) == SUCCEEDED


def test_a_settlement_in_a_savepoint_of_a_running_transaction_is_awaited(session: Session, one: Session) -> None:
    batch = claimed_batch(session, 2)
    one.run("begin")
    one.run("savepoint s")
    end(one, batch, 0)
    one.run("release s")
    end(session, batch, 1)
    maintain(session)
    assert session.column(TO_REEVALUATE) == [batch.id]
    one.run("commit")
    maintain(session)
    assert states(session, batch) == SUCCEEDED


def test_batches_that_cannot_be_evaluated_yet_do_not_delay_others(session: Session, one: Session) -> None:
    batch = claimed_batch(session, 1)
    one.run("begin")
    one.run("select from underway.batch where id = %s for update", batch.id)
    end(session, batch, 0)
    other_batch = claimed_batch(session, 0)
    session.run("insert into underway.batch_to_reevaluate (batch) values (%s)", other_batch.id)
    for _ in range(2):
        session.run("select underway._reevaluate_batches(1)")
    assert session.column(TO_REEVALUATE) == [batch.id]
    one.run("rollback")
    maintain(session)
    assert states(session, batch) == SUCCEEDED


# Nobody waits


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("committed", [True, False])
def test_who_ends_the_last_task_does_not_wait_for_one_who_cancels_what_waits_for_it(
    session: Session, one: Session, other: Session, event: str, committed: bool
) -> None:
    batch = claimed_batch(session, 1)
    one.run("begin")
    one.run("select underway.cancel(%s)", batch.callbacks[event])
    end(other, batch, 0, "fail" if event == "failure" else "complete")
    other.run("select underway._run_chores()")
    one.run("commit" if committed else "rollback")
    maintain(session)
    found = FAILED if event == "failure" else SUCCEEDED
    assert states(session, batch) == ({**found, event: "cancelled"} if committed else found)


@pytest.mark.parametrize("after_failure", ["wait", "fail", "run"])
@pytest.mark.parametrize("committed", [True, False])
def test_nor_for_one_who_makes_another_come_after_what_waits_for_it(
    session: Session, one: Session, other: Session, after_failure: str, committed: bool
) -> None:
    (task,) = session.enqueue("q")
    ((_, lease),) = session.claim("q")
    after = session.value(AFTER, [task], after_failure)
    one.run("begin")
    last = one.value(AFTER, [after], after_failure)
    END["complete" if after_failure == "wait" else "fail"](other, task, str(lease))
    other.run("select underway._run_chores()")
    one.run("commit" if committed else "rollback")
    maintain(session)
    assert session.state(after) == ("failed" if after_failure == "fail" else "pending")
    expected = "failed" if after_failure == "fail" else "waiting"
    assert session.state(last) == (expected if committed else None)


def test_upkeep_does_not_wait_for_the_retry_of_a_task_of_a_batch_whose_time_is_over(
    session: Session, one: Session, other: Session
) -> None:
    batch = claimed_batch(session, 1)
    end(session, batch, 0, "fail")
    session.run("select underway.cancel(id) from unnest(%s::bigint[]) id", list(batch.callbacks.values()))
    session.run("update underway.batch set expires_at = now()")
    one.run("begin")
    one.run("select underway.retry(%s)", batch.tasks[0])
    other.run("select underway._run_chores()")
    one.run("commit")
    ((task, lease),) = session.claim("q")
    END["fail"](session, task, str(lease))
    session.run("update underway.batch set expires_at = now()")
    maintain(session)
    assert session.column("select count(*) from underway.batch union all select count(*) from underway.batch_task") == [
        0,
        0,
    ]


# What it costs

LOOKED_AT = """
    select c.relname
    from pg_class c
    where c.relnamespace = 'underway'::regnamespace
      and c.relname ~ '^(batch|dependent)'
      and (pg_stat_get_xact_numscans(c.oid) > 0 or pg_stat_get_xact_tuples_inserted(c.oid) > 0)"""


@pytest.mark.parametrize("how", END)
def test_a_task_that_no_batch_follows_costs_nothing_more(session: Session, one: Session, how: str) -> None:
    batch = claimed_batch(session, 2)
    one.run("begin")
    (task,) = one.enqueue("q")
    ((_, lease),) = one.claim("q")
    END[how](one, task, str(lease))
    assert one.column(LOOKED_AT) == []
    end(one, batch, 0, how)
    assert "batch_task_pkey" in one.column(LOOKED_AT)  # the counters count
    one.run("commit")


# Many at once

UNSUCCESSFUL = "select id from underway.task_history where state <> 'succeeded' and queue = 'q'"
EXTEND_ITS_BATCH = """
    select underway.extend_batch(m.batch, '[{"queue": "q"}, {"queue": "q"}]')
    from underway.batch_task m
    join underway.batch b on b.id = m.batch and not b.implicit
    where m.task = %s"""


@contextlib.contextmanager
def unless(*sqlstates: str) -> Iterator[None]:
    """What runs here may be refused with one of these SQLSTATEs, and with no other."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate not in sqlstates:
            raise


def test_a_crowd_drains_batches_and_each_callback_runs_once(database: str, session: Session) -> None:
    batches = session.column(
        "select underway.enqueue_batch((select jsonb_agg(jsonb_build_object('queue', 'q', 'input', n))"
        f" from generate_series(1, 250) n), '{CALLBACK}', '{CALLBACK}', '{CALLBACK}') from generate_series(1, 6)"
    )

    def work(number: int) -> list[int]:
        draw = random.Random(number)
        ran: list[int] = []
        with Session(database) as mine:
            while mine.value("select exists (select from underway.task where state <> 'waiting')"):
                mine.run("begin")
                for id, lease in mine.claim("q", draw.randint(1, 12)):
                    END["complete"](mine, id, str(lease))
                lost = draw.random() < 0.1
                mine.run("rollback" if lost else "commit")
                if draw.random() < 0.1:
                    maintain(mine)
                for id, lease in mine.claim("callbacks", 10):
                    END["complete"](mine, id, str(lease))
                    ran.append(id)
            maintain(mine)
        return ran

    ran = list(itertools.chain(*at_once(work, 8)))
    maintain(session)
    ran += session.claim_ids("callbacks", 100)
    expected = session.column(
        "select on_success from underway.batch_stats union all select on_final from underway.batch_stats"
    )
    assert sorted(ran) == sorted(expected)
    assert session.column("select distinct state from underway.batch_stats") == ["succeeded"]
    assert len(batches) == 6
    assert session.value("select deadlocks from pg_stat_database where datname = current_database()") == 0


def test_a_crowd_that_fails_retries_extends_and_joins_forgets_nothing(database: str, session: Session) -> None:
    """Tasks of batches fail, are retried and split, and others come after them, until all has succeeded."""
    for _ in range(5):
        session.run(
            "select underway.enqueue_batch((select jsonb_agg(jsonb_build_object('queue', 'q', 'input', n))"
            f" from generate_series(1, 40) n), '{CALLBACK}', '{CALLBACK}', '{CALLBACK}')"
        )
    seen: Counter[str] = Counter()

    def work(number: int) -> list[int]:
        draw = random.Random(number)
        ran: list[int] = []
        with Session(database) as mine:
            for _ in range(120):
                for id, lease in mine.claim("q", draw.randint(1, 5)):
                    how = draw.choices(["complete", "fail", "cancel"], [8, 1, 1])[0]
                    if draw.random() < 0.2:
                        mine.value(AFTER, [id], draw.choice(["wait", "run"]))
                    if draw.random() < 0.1:
                        with unless(BATCH_FINAL):
                            mine.run(EXTEND_ITS_BATCH, id)
                    END[how](mine, id, str(lease))
                    seen[how] += 1
                for (id,) in mine.rows(f"{UNSUCCESSFUL} order by random() limit 2"):
                    with unless(WRONG_STATE, TASK_NOT_FOUND):  # another was faster
                        mine.run("select underway.retry(%s)", id)
                if draw.random() < 0.2:
                    maintain(mine)
                for id, lease in mine.claim("callbacks", 10):
                    END["complete"](mine, id, str(lease))
                    ran.append(id)
        return ran

    ran = list(itertools.chain(*at_once(work, 8)))
    # What is left is done by one.
    while left := session.column(UNSUCCESSFUL):
        session.run("select underway.retry(id) from unnest(%s::bigint[]) id", left)
        for id, lease in session.claim("q", 1000):
            END["complete"](session, id, str(lease))
    for id, lease in session.claim("q", 1000):
        END["complete"](session, id, str(lease))
    maintain(session)
    ran += session.claim_ids("callbacks", 1000)
    assert min(seen.values()) > 5
    assert session.column("select id from underway.task where state = 'waiting'") == []
    created = session.column(
        "select id from underway.task where queue = 'callbacks' union all"
        " select id from underway.task_history where queue = 'callbacks' and state = 'succeeded'"
    )
    assert sorted(ran) == sorted(created)
