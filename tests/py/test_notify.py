"""Wake-ups: who is told of what, and who is spared."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.py.support import SECONDS, Session

READY, FINISHED, CANCELLED = "underway_ready", "underway_finished", "underway_cancelled"


class Ear:
    """A session that listens. What it has heard is complete: notifications come in the order of their commits."""

    def __init__(self, session: Session, speaker: Session) -> None:
        self._session = session
        self._speaker = speaker
        self._fences = (f"fence {number}" for number in count())
        for channel in (READY, FINISHED, CANCELLED, "fence"):
            self.listen(channel)

    def listen(self, channel: str) -> None:
        self._session.run(f"listen {channel}")

    def heard(self, channel: str) -> list[str]:
        """The payloads on a channel since the last question."""
        return self.heard_on(channel).get(channel, [])

    def heard_on(self, prefix: str) -> dict[str, list[str]]:
        """The payloads on each channel whose name begins so, since the last question."""
        fence = next(self._fences)
        self._speaker.run("select pg_notify('fence', %s)", fence)
        payloads: dict[str, list[str]] = {}
        for notification in self._session.connection.notifies(timeout=SECONDS):
            if notification.payload == fence:
                return payloads
            if notification.channel.startswith(prefix):
                payloads.setdefault(notification.channel, []).append(notification.payload)
        raise AssertionError("the fence was not heard")


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        session.create_queue("dead")
        session.create_queue("q", "dead_letter_queue => 'dead'")
        session.create_queue("other")
        yield session


@pytest.fixture
def ear(database: str, session: Session) -> Iterator[Ear]:
    with Session(database) as listener, Session(database) as speaker:
        yield Ear(listener, speaker)


def idle_worker(session: Session, *queues: str) -> int:
    """A registered worker that has said that it is idle."""
    worker: int = session.value("select underway.register_worker('sleeper', %s)", list(queues))
    session.run("select underway.set_idle(%s, true)", worker)
    return worker


def claim_one(session: Session, queue: str = "q", options: str = "") -> tuple[int, str]:
    """A held task; gives its id, and the start of a call of its holder."""
    session.enqueue(queue, 1, options)
    ((id, lease),) = session.claim(queue)
    return id, f"({id}, '{lease}'"


# Ready


def test_a_statement_notifies_a_queue_once_for_any_number_of_tasks(session: Session, ear: Ear) -> None:
    idle_worker(session, "q")
    session.enqueue("q", 500)
    assert ear.heard(READY) == ["q"]


class Many:
    """A number of idle workers; the session that listens also listens on the channel of each."""

    def __init__(self, session: Session, ear: Ear, number: int) -> None:
        self.workers = [idle_worker(session, "q", "other") for _ in range(number)]
        self._ear = ear
        for worker in self.workers:
            ear.listen(f"{READY}_{worker}")

    def heard(self) -> dict[int, list[str]]:
        """The payloads that were sent to each worker on its own channel, since the last question."""
        return {int(channel.split("_")[-1]): payloads for channel, payloads in self._ear.heard_on(f"{READY}_").items()}


def test_two_of_many_idle_workers_are_notified_of_a_task(session: Session, ear: Ear) -> None:
    many = Many(session, ear, 10)
    drawn = set()
    for _ in range(100):
        session.enqueue("q")
        heard = many.heard()
        assert list(heard.values()) == [["q"], ["q"]]
        drawn.update(heard)
    assert drawn == set(many.workers)
    assert ear.heard(READY) == []


def test_a_transaction_notifies_the_same_two_of_many_workers_of_each_of_its_tasks(session: Session, ear: Ear) -> None:
    many = Many(session, ear, 50)
    session.run("begin")
    for _ in range(20):
        session.enqueue("q")
    session.run("commit")
    assert list(many.heard().values()) == [["q"], ["q"]]


def test_all_of_a_few_idle_workers_are_notified_of_a_task(session: Session, ear: Ear) -> None:
    many = Many(session, ear, 9)
    session.enqueue("q")
    assert ear.heard_on(READY) == {READY: ["q"]}
    assert many.heard() == {}


def test_idle_workers_of_other_queues_do_not_count_as_many(session: Session, ear: Ear) -> None:
    Many(session, ear, 9)
    idle_worker(session, "other")
    session.enqueue("q")
    assert ear.heard(READY) == ["q"]


def test_a_worker_that_passes_a_task_on_is_not_notified_of_it_again(session: Session, ear: Ear) -> None:
    many = Many(session, ear, 12)
    full = many.workers[:2]
    for worker in full:
        session.run("select underway.pass_on(%s, '{q}')", worker)
    many.heard()
    for _ in range(50):
        session.run("select underway.pass_on(%s, '{q}')", full[0])
        heard = many.heard()
        assert list(heard.values()) == [["q"], ["q"]]
        assert not set(full) & set(heard)


def test_a_transaction_notifies_each_queue_once(session: Session, ear: Ear) -> None:
    idle_worker(session, "q", "other")
    session.run("begin")
    for _ in range(3):
        session.enqueue("q", 2)
        session.enqueue("other")
    assert ear.heard(READY) == []
    session.run("commit")
    assert sorted(ear.heard(READY)) == ["other", "q"]


def test_a_batch_for_several_queues_notifies_each_once(session: Session, ear: Ear) -> None:
    idle_worker(session, "q", "other")
    session.run(
        """select underway.enqueue_many('[{"queue": "q"}, {"queue": "other"}, {"queue": "q"}, {"queue": "other"}]')"""
    )
    assert sorted(ear.heard(READY)) == ["other", "q"]


def test_what_is_due_within_two_seconds_is_notified_and_what_is_due_later_is_not(session: Session, ear: Ear) -> None:
    idle_worker(session, "q")
    session.enqueue("q", 1, "delay => '1900 milliseconds'")
    assert ear.heard(READY) == ["q"]
    session.enqueue("q", 1, "delay => '2 seconds'")
    session.enqueue("q", 1, "run_at => now() + interval '1 day'")
    assert ear.heard(READY) == []
    session.enqueue("q", 1, "run_at => now() - interval '1 day'")
    assert ear.heard(READY) == ["q"]


def test_nobody_is_notified_while_no_worker_of_the_queue_is_idle(session: Session, ear: Ear) -> None:
    session.enqueue("q")
    assert ear.heard(READY) == []  # there is no worker

    idle_worker(session, "other")
    session.enqueue("q")
    assert ear.heard(READY) == []  # one of another queue

    worker = session.value("select underway.register_worker('busy', '{q}')")
    session.enqueue("q")
    assert ear.heard(READY) == []  # one that has not said that it is idle

    session.run("select underway.set_idle(%s, true)", worker)
    session.enqueue("q")
    assert ear.heard(READY) == ["q"]

    session.run("select underway.set_idle(%s, false)", worker)
    session.enqueue("q")
    assert ear.heard(READY) == []

    session.run("select underway.set_idle(%s, true)", worker)
    session.run("update underway.worker set seen_at = seen_at - interval '31 seconds'")
    session.enqueue("q")
    assert ear.heard(READY) == []  # one that crashed while it was idle

    session.run("select underway.unregister_worker(%s)", worker)
    session.enqueue("q")
    assert ear.heard(READY) == []


def test_nothing_is_heard_of_a_transaction_that_is_rolled_back(session: Session, ear: Ear) -> None:
    idle_worker(session, "q", "other")
    session.run("begin")
    session.enqueue("q")
    session.run("rollback")
    assert ear.heard(READY) == []

    session.run("begin; savepoint before")
    session.enqueue("q")
    session.run("rollback to before")
    session.enqueue("other")
    session.run("commit")
    assert ear.heard(READY) == ["other"]


def test_an_empty_batch_notifies_nobody(session: Session, ear: Ear) -> None:
    idle_worker(session, "q")
    assert session.value("select underway.enqueue_many('q', '{}'::jsonb[])") == []
    assert ear.heard(READY) == []


def test_a_retry_that_is_due_soon_is_notified_and_a_later_one_is_not(session: Session, ear: Ear) -> None:
    idle_worker(session, "q")
    for after, told in (("0.5 seconds", ["q"]), ("5 seconds", [])):
        _, held = claim_one(session)
        ear.heard(READY)
        session.run(f"select underway.fail{held}, '1', retry_after => '{after}')")
        assert ear.heard(READY) == told


def test_a_batch_that_fails_notifies_each_queue_once(session: Session, ear: Ear) -> None:
    idle_worker(session, "q", "dead")
    ids = session.enqueue("q", 20)
    lease = session.claim("q", 20)[0][1]
    ear.heard(READY)
    session.run(
        "select from underway.fail_many(%s, %s, array_fill('1'::jsonb, array[20]),"
        " array(select n > 10 from generate_series(1, 20) n), array_fill(interval '0', array[20]))",
        ids,
        [lease] * 20,
    )
    assert sorted(ear.heard(READY)) == ["dead", "q"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("release{held})", ["q"]),
        ("snooze{held}, '0.5 seconds')", ["q"]),
        ("snooze{held}, '5 seconds')", []),
        ("complete{held})", []),
        ("report_progress{held}, '1')", []),
    ],
)
def test_what_a_holder_puts_back_is_notified_when_it_is_due_soon(
    session: Session, ear: Ear, call: str, told: list[str]
) -> None:
    idle_worker(session, "q")
    _, held = claim_one(session)
    ear.heard(READY)
    session.run(f"select underway.{call.format(held=held)}")
    assert ear.heard(READY) == told


def test_a_batch_that_is_given_back_notifies_once(session: Session, ear: Ear) -> None:
    idle_worker(session, "q")
    ids = session.enqueue("q", 50)
    lease = session.claim("q", 50)[0][1]
    ear.heard(READY)
    session.run("select from underway.release_many(%s, %s)", ids, [lease] * 50)
    assert ear.heard(READY) == ["q"]


def test_a_dead_letter_wakes_the_workers_of_its_queue_and_a_redrive_those_it_came_from(
    session: Session, ear: Ear
) -> None:
    idle_worker(session, "q", "dead")
    id, held = claim_one(session)
    ear.heard(READY)
    session.run(f"select underway.fail{held}, '1', retryable => false)")
    assert ear.heard(READY) == ["dead"]
    session.run("select underway.redrive('dead')")
    assert ear.heard(READY) == ["q"]
    session.run("select underway.cancel(%s)", id)
    assert ear.heard(READY) == []
    session.run("select underway.retry(%s)", id)
    assert ear.heard(READY) == ["q"]


def test_a_pending_task_that_is_moved_to_now_is_notified(session: Session, ear: Ear) -> None:
    idle_worker(session, "q")
    (id,) = session.enqueue("q", 1, "delay => '1 hour'")
    session.run("select underway.reschedule(%s, now() + interval '1 minute')", id)
    assert ear.heard(READY) == []
    session.run("select underway.reschedule(%s, now())", id)
    assert ear.heard(READY) == ["q"]


def test_a_queue_that_is_resumed_wakes_its_workers(session: Session, ear: Ear) -> None:
    idle_worker(session, "q")
    session.run("select underway.pause_queue('q')")
    assert ear.heard(READY) == []
    session.run("select underway.resume_queue('q')")
    assert ear.heard(READY) == ["q"]
    session.run("select underway.resume_queue('q')")
    assert ear.heard(READY) == []


def test_a_reclaimed_task_that_may_be_tried_at_once_is_notified(session: Session, ear: Ear) -> None:
    session.create_queue("q", "retry_policy => underway.retry_policy(initial_interval => '0')")
    idle_worker(session, "q")
    id, _ = claim_one(session)
    ear.heard(READY)
    session.lapse(id)
    session.run("select underway._run_chores()")
    assert ear.heard(READY) == ["q"]


# Finished


@pytest.mark.parametrize(
    "finish",
    ["complete{held})", "complete{held}, '1')", "fail{held}, '1', retryable => false)", "cancel({id})"],
)
def test_a_finish_is_announced_for_a_task_that_somebody_watches_and_for_no_other(
    session: Session, ear: Ear, finish: str
) -> None:
    watched, held = claim_one(session)
    other, other_held = claim_one(session)
    assert session.value("select underway.watch(%s)::text", watched) == "in_progress"

    session.run("begin")
    session.run(f"select underway.{finish.format(id=watched, held=held)}")
    session.run("rollback")
    assert ear.heard(FINISHED) == []
    session.run(f"select underway.{finish.format(id=other, held=other_held)}")
    assert ear.heard(FINISHED) == []
    session.run(f"select underway.{finish.format(id=watched, held=held)}")
    assert ear.heard(FINISHED) == [str(watched)]


def test_a_watched_task_of_a_batch_is_announced(session: Session, ear: Ear) -> None:
    ids = session.enqueue("q", 10)
    lease = session.claim("q", 10)[0][1]
    for id in ids[3:5]:
        session.run("select underway.watch(%s)", id)
    session.run("select from underway.complete_many(%s, %s)", ids, [lease] * 10)
    assert sorted(ear.heard(FINISHED)) == sorted(map(str, ids[3:5]))


def test_an_attempt_that_fails_is_not_announced_before_the_task_is_final(session: Session, ear: Ear) -> None:
    session.create_queue("q", "retry_policy => underway.retry_policy(initial_interval => '0', max_attempts => 2)")
    id, held = claim_one(session)
    session.run("select underway.watch(%s)", id)
    session.run(f"select underway.fail{held}, '1')")
    assert ear.heard(FINISHED) == []
    assert session.claim_ids("q") == [id]
    session.lapse(id)
    session.run("select underway._run_chores()")
    assert session.state(id) == "failed"
    assert ear.heard(FINISHED) == [str(id)]


def test_watching_a_final_task_says_so_and_announces_nothing(session: Session, ear: Ear) -> None:
    id, held = claim_one(session)
    session.run(f"select underway.complete{held})")
    assert session.value("select underway.watch(%s)::text", id) == "succeeded"
    assert ear.heard(FINISHED) == []


# Cancelled


def test_the_cancellation_of_a_running_task_is_announced_and_that_of_a_pending_one_is_not(
    session: Session, ear: Ear
) -> None:
    running, _ = claim_one(session)
    (pending,) = session.enqueue("q")

    session.run("begin")
    session.run("select underway.cancel(%s)", running)
    session.run("rollback")
    assert ear.heard(CANCELLED) == []
    session.run("select underway.cancel(%s)", running)
    assert ear.heard(CANCELLED) == [str(running)]
    session.run("select underway.cancel(%s)", pending)
    session.run("select underway.cancel(%s)", running)
    assert ear.heard(CANCELLED) == []


def test_dropping_a_queue_announces_the_cancellation_of_its_running_tasks_only(session: Session, ear: Ear) -> None:
    running = sorted(claim_one(session)[0] for _ in range(2))
    session.enqueue("q")

    session.run("select underway.drop_queue('q', force => true)")
    assert sorted(map(int, ear.heard(CANCELLED))) == running
