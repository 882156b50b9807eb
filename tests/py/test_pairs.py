"""Every two verbs that can meet at a task, interleaved: what comes out is what one after the other gives.

The first verb is done in a transaction that is still open when the second one comes. The second waits, or passes over
what is locked. Then the first is committed, and all is as if the two had come one after the other, in one order or the
other; or it is rolled back, and all is as if it had never been.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import psycopg
import pytest

from tests.py.support import Session, listed, wait_until
from tests.servers import Server

VERBS = {
    "complete": "select underway.complete(%(task)s, %(lease)s)",
    "fail": "select underway.fail(%(task)s, %(lease)s, '\"no\"') is null",
    "fail for good": "select underway.fail(%(task)s, %(lease)s, '\"no\"', retryable => false) is null",
    "heartbeat": "select count(*) from underway.heartbeat(array[%(task)s], array[%(lease)s])",
    "cancel": "select underway.cancel(%(task)s)",
    "snooze": "select underway.snooze(%(task)s, %(lease)s, '1 hour') is null",
    "release": "select underway.release(%(task)s, %(lease)s)",
    "reclaim": "select underway._reclaim()",
    "retry": "select underway.retry(%(task)s)",
    "redrive": "select underway.redrive('dead')",
    "prune": "select underway._prune()",
    "delete": "select underway.delete_task(%(task)s)",
    "pause": "select underway.pause_queue('q')",
    "resume": "select underway.resume_queue('q')",
    "claim": "select count(*) from underway.dequeue('q', 10)",
    "reschedule": "select underway.reschedule(%(task)s, '2100-01-01') is null",
    "reprioritize": "select underway.reprioritize(%(task)s, 5)",
}

# These pass over what another transaction has locked, and answer that there was nothing; but a heartbeat says that what
# is being settled is held until it is.
PASSING: dict[str, set[object]] = {"heartbeat": {0, 1}, "reclaim": {0}, "redrive": {0}, "prune": {0}, "claim": {0}}

STARTS = {
    "pending": ["fail", "let it be ready"],
    "held": [],
    "lapsed": ["let the lease lapse"],
    "failed": ["fail for good"],
    "expired": ["fail for good", "let it expire"],
}

# The effects of time. A lease lapses now: in the past, behind the watermark of the leases, none ever lies.
TIME = {
    "let it be ready": "update underway.task set ready_at = enqueued_at",
    "let the lease lapse": "update underway.task set lease_expires_at = clock_timestamp()",
    "let it expire": "update underway.task_history set kept_slot = 32, kept_until = finished_at",
}

STATE = """
    select
        coalesce((select state::text from underway.task where id = %(task)s), 'none'),
        coalesce((select attempt from underway.task where id = %(task)s), 0),
        coalesce((select priority from underway.task where id = %(task)s), 0),
        (select count(*) from underway.task where id = %(task)s and lease = %(lease)s),
        (select count(*) from underway.task where id = %(task)s and ready_at > clock_timestamp() + interval '1 minute'),
        coalesce((select jsonb_array_length(errors) from underway.task where id = %(task)s), 0),
        coalesce((select state::text from underway.task_history where id = %(task)s), 'none'),
        (select count(*) from underway.task where queue = 'dead'),
        (select count(*) from underway.queue where name = 'q' and paused_at is not null)"""

# One call instead of several, because the tests make it thousands of times.
A_HELD_TASK = """
    create function public.a_held_task(out task bigint, out lease uuid) language plpgsql as $$
    begin
        delete from underway.task;
        delete from underway.task_history;
        perform underway.resume_queue('q'), underway.enqueue('q');
        select d.id, d.lease into task, lease from underway.dequeue('q') d;
    end;
    $$"""

Answers = tuple[tuple[str, object], ...]
Came = tuple[Answers, tuple[object, ...]]


def in_order(answers: Iterable[tuple[str, object]]) -> Answers:
    return tuple(sorted(answers, key=str))


class Stage:
    """Two sessions, and a third one that looks."""

    def __init__(self, thread: ThreadPoolExecutor, first: Session, second: Session, observer: Session) -> None:
        self.thread = thread
        self.first, self.second, self.observer = first, second, observer

    def set(self, start: str) -> None:
        """A task in this state, and nothing else."""
        for session in (self.first, self.second, self.observer):
            session.connection.rollback()  # where the pair before this one has failed
        ((task, lease),) = self.observer.rows("select task, lease from public.a_held_task()")
        self.named = {"task": task, "lease": lease}
        for step in STARTS[start]:
            self.observer.connection.execute((VERBS | TIME)[step], self.named)

    def do(self, session: Session, verb: str) -> object:
        """What a verb answers, or how it is refused."""
        try:
            ((answer,),) = session.connection.execute(VERBS[verb], self.named)
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith("UW"):
                raise
            return error.sqlstate
        return answer

    def came(self, answers: Iterable[tuple[str, object]]) -> Came:
        """The answers of the verbs, whoever was first, and the state."""
        (state,) = self.observer.connection.execute(STATE, self.named)
        return in_order(answers), state

    @functools.cache  # noqa: B019  # as long as the test
    def one_after_the_other(self, start: str, *verbs: str) -> Came:
        """What the verbs give without anybody else."""
        self.set(start)
        return self.came([(verb, self.do(self.first, verb)) for verb in verbs])

    def ends(self, start: str, verb: str) -> tuple[str, ...]:
        """How the transaction of a verb may end; of one that is refused nothing is left to be rolled back."""
        ((_, answer),), _ = self.one_after_the_other(start, verb)
        return ("commit",) if str(answer).startswith("UW") else ("commit", "rollback")

    def interleaved(self, start: str, first: str, second: str, end: str) -> Came:
        self.set(start)
        self.first.run("begin; savepoint before")
        one = self.do(self.first, first)
        if isinstance(one, str) and one.startswith("UW"):
            self.first.run("rollback to before")
        other = self.thread.submit(self.do, self.second, second)
        wait([other], 0.002)  # most are done at once
        wait_until(lambda: other.done() or self.observer.waits_for(self.second), "the second is done, or waits")
        self.first.run(end)
        answers = [(second, other.result(30))]
        return self.came([(first, one), *answers] if end == "commit" else answers)


@pytest.fixture
def stage(server: Server) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(server.database())
        thread = stack.enter_context(ThreadPoolExecutor(1))
        stage = Stage(thread, *(stack.enter_context(Session(database)) for _ in range(3)))
        stage.observer.create_queue("dead")
        at_once = "retry_policy => underway.retry_policy(initial_interval => '1 hour', jitter => 0)"
        stage.observer.create_queue("q", f"{at_once}, dead_letter_queue => 'dead'")
        stage.observer.run(A_HELD_TASK)
        yield stage


def see_as_one_after_the_other(stage: Stage, start: str, first: str, second: str, end: str) -> None:
    came = stage.interleaved(start, first, second, end)
    done = [first] if end == "commit" else []
    may_be = {stage.one_after_the_other(start, *order) for order in itertools.permutations([*done, second])}
    # Or the second verb has skipped the task, and the state is that of the first verb alone.
    answers, state = stage.one_after_the_other(start, *done)
    may_be |= {(in_order([*answers, (second, passed)]), state) for passed in PASSING.get(second, ())}
    assert came in may_be


@pytest.mark.parametrize("start", STARTS)
def test_two_verbs_that_meet_are_as_one_after_the_other(stage: Stage, start: str) -> None:
    offenders: list[str] = []
    for first, second in itertools.product(VERBS, VERBS):
        for end in stage.ends(start, first):
            with listed(offenders, (first, second, end)):
                see_as_one_after_the_other(stage, start, first, second, end)
    assert not offenders, "\n".join(offenders)
