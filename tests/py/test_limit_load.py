"""Limits under load: transactions of many sessions overlap, and no task stays parked while its key has a free slot.

maintain is not called here: it would repair what these tests look for.

Some of them fail within seconds without the lock in _release_slots, the lock in _park, its second look, the slots that
resume_key releases, or the claim lock of limited queues; test_limit_races.py finds the lock in _take_turns too.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.py.support import FORGOTTEN, SECONDS, Session, at_once, wait_until

LONG = bool(os.environ.get("UNDERWAY_LONG"))
LOAD_SECONDS = 20.0 if LONG else 1.0

# The load goes on until more tasks than this were enqueued, also where the machine is slow.
FEWEST_TASKS = 50

# A look that finds nothing pauses for so many seconds: many look, and each look that finds nothing costs the others.
PAUSE = 0.001

# A worker ends when it has looked so often and found nothing: no token, snoozed task or transaction takes longer.
IDLE_LOOKS = 150

# Producers wait while there are more tasks.
BACKLOG = 100

# How many tasks run now: of the key that runs most, and of the queue.
RUNNING = """
    select coalesce(max(tasks) filter (where concurrency_key is not null), 0), coalesce(sum(tasks), 0)
    from (
        select concurrency_key, count(*) as tasks
        from underway.task
        where queue = 'q' and state = 'in_progress'
        group by concurrency_key
    ) running"""

COMPLETE = "select from underway.complete_many(%s, %s)"
RELEASE = "select underway.release_many(%s, %s)"
FAIL = "select from underway.fail_many(%s, %s, null)"
SNOOZE = "select underway.snooze(id, lease, '1 ms') from unnest(%s::bigint[], %s::uuid[]) t (id, lease)"

KINDS = {
    "keys": "",
    "slots": ", max_running => 3",
    "rates": ", rate_limit_per_key => 3, rate_limit => 50, rate_period => '50 ms'",
    "a fair queue": ", fair => true",
}

# What other sessions do with a task; each in a transaction that stays open for some ms.
OPERATIONS = [
    "select underway.cancel({task})",
    "select underway.reschedule({task}, now() + interval '2 ms')",
    "select underway.reprioritize({task}, 1)",
    "select underway.release({task}, {lease})",
    "select underway.snooze({task}, {lease}, '2 ms')",
    "select underway.fail({task}, {lease}, '1')",
    "select underway.retry({final})",
]
TASK = "(select id from underway.task where {which} order by random() limit 1)"


class Load:
    """Producers, workers and operators at once, each in a thread, until the time is up and there were enough tasks."""

    def __init__(self, database: str, session: Session, settings: str, per_key: int, seed: int = 1) -> None:
        session.create_queue(
            "q",
            f"max_running_per_key => {per_key}{settings},"
            " retry_policy => underway.retry_policy(initial_interval => '0', max_attempts => 3)",
        )
        self.database = database
        self.session = session
        self.seed = seed
        self.ends_at = time.monotonic() + LOAD_SECONDS
        self.lock = threading.Lock()
        self.enqueued = 0
        self.most_of_a_key = 0
        self.most_of_the_queue = 0
        self.producing = 0
        self.working = 0
        self.failed = threading.Event()

    @property
    def over(self) -> bool:
        late = time.monotonic() - self.ends_at
        return self.failed.is_set() or late > SECONDS or (late > 0 and self.enqueued > FEWEST_TASKS)

    def measure(self, session: Session) -> None:
        ((of_a_key, of_the_queue),) = session.rows(RUNNING)
        with self.lock:
            self.most_of_a_key = max(self.most_of_a_key, of_a_key)
            self.most_of_the_queue = max(self.most_of_the_queue, of_the_queue)

    def produce(
        self, chance: random.Random, *, keys: Callable[[random.Random], list[str]], pause: float, rollbacks: float = 0.0
    ) -> None:
        with Session(self.database) as mine:
            while not self.over:
                if mine.value("select count(*) from underway.task") > BACKLOG:
                    time.sleep(pause)
                    continue
                mine.run("begin")
                drawn = keys(chance)
                for key, count in Counter(drawn).items():
                    mine.enqueue("q", count, f"concurrency_key => '{key}', priority => {chance.randint(0, 1)}")
                if chance.random() < 0.3:
                    time.sleep(2 * pause * chance.random())
                end = "rollback" if chance.random() < rollbacks else "commit"
                mine.run(end)
                if end == "commit":
                    with self.lock:
                        self.enqueued += len(drawn)
                time.sleep(pause * chance.random())

    def work(self, chance: random.Random, *, sizes: list[int], pause: float, settlements: list[str]) -> None:
        """Claim; settle one half at once, and the other in a transaction that stays open."""
        empty = 0
        with Session(self.database) as mine, Session(self.database) as slow:
            while not self.failed.is_set() and (self.producing or empty < IDLE_LOOKS):
                claimed = mine.claim("q", chance.choice(sizes))
                empty = 0 if claimed else empty + 1
                if not claimed:
                    time.sleep(PAUSE)
                    continue
                self.measure(mine)
                time.sleep(pause * chance.random())
                half = len(claimed) // 2
                for session, part in ((mine, claimed[:half]), (slow, claimed[half:])):
                    if part:
                        session.run("begin")
                        session.run(chance.choice(settlements), *map(list, zip(*part, strict=True)))
                        if session is slow:
                            time.sleep(pause * chance.random())
                        session.run("commit")

    def pause_keys(self, chance: random.Random, *, names: list[str]) -> None:
        with Session(self.database) as mine:
            while not self.over:
                key = chance.choice(names)
                mine.run("select underway.pause_key('q', %s)", key)
                time.sleep(0.01 * chance.random())
                mine.run("begin")
                mine.run("select underway.resume_key('q', %s)", key)
                time.sleep(0.005 * chance.random())
                mine.run("commit")

    def operate(self, chance: random.Random) -> None:
        with Session(self.database) as mine:
            while not self.over:
                which = chance.choice(["parked", "state = 'pending'", "state = 'in_progress'"])
                task = mine.column(f"select id from underway.task where {which} order by random() limit 1")
                final = mine.column("select id from underway.task_history where state <> 'succeeded' limit 1")
                if task:
                    mine.run("begin")
                    with contextlib.suppress(psycopg.Error):
                        mine.run(chance.choice(OPERATIONS).format(
                            task=task[0], final=(final or [0])[0],
                            lease=f"(select lease from underway.task where id = {task[0]})",
                        ))  # fmt: skip
                        time.sleep(0.005 * chance.random())
                    mine.run("commit")
                time.sleep(0.005 * chance.random())

    def watch(self, patience: float) -> None:
        """See at many committed instants that no parked task is forgotten and no limit is exceeded."""
        with Session(self.database) as mine:
            while self.working and not self.failed.is_set():
                wait_until(lambda: not mine.rows(FORGOTTEN), "no parked task is forgotten", seconds=patience)
                self.measure(mine)
                time.sleep(PAUSE)

    def run(
        self,
        producers: list[Callable[[random.Random], None]],
        workers: list[Callable[[random.Random], None]],
        *,
        patience: float = 0.0,
    ) -> None:
        """Run all of them to their end; then nothing is forgotten, nothing is left, and nothing was lost."""
        roles = [*producers, *workers]
        self.producing, self.working = len(producers), len(workers)

        def play(number: int) -> None:
            try:
                if number == len(roles):
                    self.watch(patience)
                else:
                    roles[number](random.Random(100 * self.seed + number))
            except BaseException:
                self.failed.set()
                raise
            finally:
                with self.lock:
                    self.producing -= number < len(producers)
                    self.working -= len(producers) <= number < len(roles)

        at_once(play, len(roles) + 1, seconds=LOAD_SECONDS + 2 * SECONDS)

        session = self.session
        assert session.rows(FORGOTTEN) == []
        assert session.rows("select id, state, parked, concurrency_key from underway.task") == []
        assert session.value("select count(*) from underway.task_history") == self.enqueued
        assert self.enqueued > FEWEST_TASKS
        assert session.value("select deadlocks from pg_stat_database where datname = current_database()") == 0


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        yield session


def one_key(chance: random.Random) -> list[str]:
    return [f"k{chance.randint(0, 20)}"]


def many_keys(chance: random.Random) -> list[str]:
    return [
        chance.choice(["a", "b", "c", "d", f"k{chance.randint(0, 200)}"])
        for _ in range(chance.choice([1, 1, 1, 5, 40]))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_no_task_is_forgotten_in_a_nearly_empty_queue(database: str, session: Session, kind: str) -> None:
    """A full key, and a slot of it that becomes free at the moment at which a claim parks its next task."""
    load = Load(database, session, KINDS[kind], per_key=1)
    produce = functools.partial(load.produce, keys=one_key, pause=0.002)
    work = functools.partial(load.work, sizes=[1, 2, 5], pause=0.004, settlements=[COMPLETE])
    load.run([produce] * 2, [work] * 4)
    assert load.most_of_a_key == 1
    assert kind != "slots" or load.most_of_the_queue == 3


@pytest.mark.parametrize("kind", KINDS)
def test_limits_hold_and_nothing_is_lost_under_load(database: str, session: Session, kind: str) -> None:
    """Enqueues that are rolled back, and settlements of each kind in transactions that stay open.

    Where two tasks of a key are being settled, a transaction that is still open may have made the next one ready.
    """
    load = Load(database, session, KINDS[kind], per_key=2)
    produce = functools.partial(load.produce, keys=many_keys, pause=0.02, rollbacks=0.1)
    settlements = [COMPLETE, COMPLETE, RELEASE, FAIL, SNOOZE]
    work = functools.partial(load.work, sizes=[1, 5, 50], pause=0.01, settlements=settlements)
    load.run([produce] * 4, [work] * 4, patience=0.5)
    assert load.most_of_a_key == 2
    assert kind != "slots" or load.most_of_the_queue == 3


def test_no_task_of_a_key_that_is_paused_and_resumed_is_forgotten(database: str, session: Session) -> None:
    load = Load(database, session, "", per_key=1)
    produce = functools.partial(load.produce, keys=one_key, pause=0.004)
    pause = functools.partial(load.pause_keys, names=[f"k{number}" for number in range(21)])
    work = functools.partial(load.work, sizes=[1, 2, 5], pause=0.004, settlements=[COMPLETE])
    load.run([produce] * 2 + [pause] * 2, [work] * 3)
    assert load.most_of_a_key == 1


@pytest.mark.parametrize("kind", ["keys", "a fair queue"])
def test_no_task_is_forgotten_while_operators_change_tasks(database: str, session: Session, kind: str) -> None:
    """While an operator changes the only parked task of a key, a settlement cannot make it ready, and need not."""
    load = Load(database, session, KINDS[kind], per_key=1)
    produce = functools.partial(load.produce, keys=one_key, pause=0.004)
    work = functools.partial(load.work, sizes=[1, 2, 5], pause=0.004, settlements=[COMPLETE, RELEASE])
    load.run([produce] * 2 + [load.operate] * 3, [work] * 3, patience=0.5)
    assert load.most_of_a_key == 1
