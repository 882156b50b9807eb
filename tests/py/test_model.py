"""All verbs in any order, by sessions whose transactions overlap, beside a model of Underway in memory.

`Underway` is the model: what one session sees, and what each verb makes of it. `Machine` draws the steps, does each in
the database and in the model, and compares what was answered and what is there. A step that fails is printed with
those before it, as few as it takes, each with its statement.

A further verb is a method of `Underway` with the arguments of its function in SQL, and a rule of `Machine`; a further
setting is a field of `Queue` or `Task`, and its column in `QUEUES` or `TASKS`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from psycopg.types.json import Jsonb

from tests.py.support import Session
from tests.py.test_floor import HIDDEN

T = TypeVar("T")

LONG = bool(os.environ.get("UNDERWAY_LONG"))

INVALID_ARGUMENT, LEASE_LOST, QUEUE_NOT_FOUND = "UW001", "UW002", "UW003"
TASK_NOT_FOUND, WRONG_STATE, QUEUE_IN_USE = "UW004", "UW005", "UW006"

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


# What there is


@dataclass(frozen=True)
class Policy:
    max_attempts: int = 5
    initial_interval: timedelta = SECOND

    def backoff(self, attempt: int) -> timedelta:
        return min(self.initial_interval * 2.0 ** (attempt - 1), 60 * SECOND)

    def __str__(self) -> str:
        return f'({self.max_attempts},"{self.initial_interval.total_seconds()} s","60 s",2,0)'


@dataclass(frozen=True, kw_only=True)
class Queue:
    name: str
    dead_letter_queue: str | None = None
    retry_policy: Policy = Policy()
    timeout: timedelta = 15 * 60 * SECOND
    heartbeat: timedelta = 30 * SECOND
    keep_history: bool = True
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """Of which task a dead letter tells, and what that needs to come back."""

    task: int
    queue: str
    attempts: int
    enqueued_at: datetime
    dead_letter: DeadLetter | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    id: int
    queue: str
    enqueued_at: datetime
    priority: int = 0
    state: str = "pending"
    attempt: int = 0
    errors: int = 0
    ready_at: datetime | None = None  # while it is pending
    started_at: datetime | None = None
    lease: UUID | None = None
    lease_expires_at: datetime | None = None
    retry_policy: Policy | None = None
    dead_letter: DeadLetter | None = None
    watched: bool = False
    progress: Any = None

    @property
    def live(self) -> bool:
        return self.state in ("pending", "in_progress", "waiting")


class Refused(Exception):  # noqa: N818
    """The verb is refused with this SQLSTATE, and nothing is changed."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class Waits(Exception):  # noqa: N818
    """The verb would wait for the transaction of another session."""


@dataclass
class World:
    """What all sessions share: what is committed, the clock, and the sessions themselves."""

    committed: dict[Key, Task | Queue | None] = field(default_factory=dict)
    sessions: list[Underway] = field(default_factory=list)
    now: datetime = START
    next_id: int = 1


Key = int | str  # a task by its id, a queue by its name


class Underway:
    """Underway as one session sees it: what is committed, and over it what its own open transaction has changed.

    What a transaction has changed or locked is in `changes`, changed or not, and taken for the others until its end.
    Each verb returns its rows: a list where their order counts, a set where it does not, None where there is nothing
    to see. Where chance decides, it asks the database what has become of it, and says what that should have been.
    """

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = "ABC"[number]
        self.open = False
        self.changes: dict[Key, Task | Queue | None] = {}
        self.claimed_from: set[str] = set()  # it may be at the head of lanes of these, until its transaction ends
        self.saved: Saved | None = None
        self.ask: Callable[[], list[Any]] = list

    # Transactions

    def begin(self) -> None:
        self.open = True

    def commit(self) -> None:
        self.world.committed.update(self.changes)
        self.rollback()

    def rollback(self) -> None:
        self.changes, self.claimed_from, self.saved, self.open = {}, set(), None, False

    def set_savepoint(self) -> None:
        self.saved = self.save()

    def rollback_to_savepoint(self) -> None:
        assert self.saved is not None
        self.go_back(self.saved)

    def save(self) -> Saved:
        return dict(self.changes), set(self.claimed_from)

    def go_back(self, saved: Saved) -> None:
        self.changes, self.claimed_from = dict(saved[0]), set(saved[1])

    # What it sees

    @property
    def now(self) -> datetime:
        return self.world.now

    @property
    def others(self) -> list[Underway]:
        return [session for session in self.world.sessions if session is not self]

    def tasks(self) -> list[Task]:
        seen = {**self.world.committed, **self.changes}
        return sorted((value for value in seen.values() if isinstance(value, Task)), key=lambda task: task.id)

    def queues(self) -> list[Queue]:
        seen = {**self.world.committed, **self.changes}
        return sorted((value for value in seen.values() if isinstance(value, Queue)), key=lambda queue: queue.name)

    def task(self, id: int) -> Task | None:
        found = self.changes[id] if id in self.changes else self.world.committed.get(id)
        assert not isinstance(found, Queue)
        return found

    def queue(self, name: str) -> Queue | None:
        found = self.changes[name] if name in self.changes else self.world.committed.get(name)
        assert not isinstance(found, Task)
        return found

    def existing_queue(self, name: str) -> Queue:
        if (queue := self.queue(name)) is None:
            raise Refused(QUEUE_NOT_FOUND)
        return queue

    def held(self, task: int, lease: UUID) -> Task | None:
        found = self.task(task)
        return found if found is not None and found.lease == lease else None

    def taken(self, key: Key) -> bool:
        return any(key in other.changes for other in self.others)

    def write(self, key: Key, value: Task | Queue | None) -> None:
        if self.taken(key):
            raise Waits
        self.changes[key] = value

    def wrong_state(self, task: int) -> Refused:
        return Refused(TASK_NOT_FOUND if self.task(task) is None else WRONG_STATE)

    # Queues

    def create_queue(
        self,
        name: str,
        dead_letter_queue: str | None = None,
        retry_policy: Policy | None = None,
        timeout: timedelta | None = None,
        heartbeat: timedelta | None = None,
        keep_history: bool | None = None,
    ) -> None:
        if dead_letter_queue:
            self.write("one at a time", None)
        following = dead_letter_queue
        while following:
            if following == name:
                raise Refused(INVALID_ARGUMENT)
            following = self.existing_queue(following).dead_letter_queue
        if dead_letter_queue:
            self.write(dead_letter_queue, self.queue(dead_letter_queue))  # it is referred to
        queue = self.queue(name) or Queue(name=name)
        given = {
            "retry_policy": retry_policy,
            "timeout": timeout,
            "heartbeat": heartbeat,
            "keep_history": keep_history,
        }
        queue = replace(queue, **{setting: value for setting, value in given.items() if value is not None})
        if dead_letter_queue is not None:
            queue = replace(queue, dead_letter_queue=dead_letter_queue or None)
        self.write(name, queue)

    def drop_queue(self, name: str, force: bool) -> None:
        queue = self.existing_queue(name)
        # What others are putting into it would be left without a queue: allowed, and not modelled.
        for other in self.others:
            if any(isinstance(value, Task) and value.queue == name for value in other.changes.values()):
                raise Waits
        self.write(name, queue)
        tasks = [task for task in self.tasks() if task.live and task.queue == name]
        if tasks and not force:
            raise Refused(QUEUE_IN_USE)
        for task in tasks:
            self.finish(task, "cancelled")
        for referring in self.queues():
            if referring.dead_letter_queue == name:
                self.write(referring.name, replace(referring, dead_letter_queue=None))
        self.write(name, None)

    def pause_queue(self, name: str) -> list[bool]:
        return self.set_paused(name, True)

    def resume_queue(self, name: str) -> list[bool]:
        return self.set_paused(name, False)

    def set_paused(self, name: str, paused: bool) -> list[bool]:
        queue = self.existing_queue(name)
        self.write(name, replace(queue, paused=paused))
        return [queue.paused is not paused]

    # Into the queue

    def enqueue(self, queue: str, input: Any, **options: Any) -> list[int]:
        return self.enqueue_many(queue, [input], **options)[0]

    def enqueue_many(
        self,
        queue: str = "",
        inputs: Sequence[Any] = (),
        priority: int = 0,
        delay: timedelta | None = None,
        run_at: datetime | None = None,
        retry_policy: Policy | None = None,
        tasks: Sequence[dict[str, Any]] | None = None,
    ) -> list[list[int]]:
        if tasks is not None:
            return [[self.enqueue(**options)[0] for options in tasks]]
        self.existing_queue(queue)
        return [
            [
                self.add(
                    queue=queue,
                    priority=priority,
                    ready_at=max(self.now + (delay or 0 * SECOND), run_at or self.now),
                    retry_policy=retry_policy,
                )
                for _ in inputs
            ]
        ]

    def add(self, **fields: Any) -> int:
        id = self.world.next_id
        self.world.next_id += 1
        self.write(id, Task(id=id, enqueued_at=self.now, **fields))
        return id

    def reschedule(self, task: int, run_at: datetime) -> list[datetime]:
        found = self.pending(task)
        self.write(task, replace(found, ready_at=max(run_at, self.now)))
        return [max(run_at, self.now)]

    def reprioritize(self, task: int, priority: int) -> None:
        found = self.pending(task)
        assert found.ready_at is not None
        self.write(task, replace(found, priority=priority, ready_at=max(found.ready_at, self.now)))

    def pending(self, task: int) -> Task:
        found = self.task(task)
        if found is None or found.state != "pending":
            raise self.wrong_state(task)
        return found

    # Claims

    def dequeue(
        self, queue: str | None = None, queues: Sequence[str] = (), max_tasks: int = 1
    ) -> list[tuple[int, int, UUID]]:
        open_queues = {}
        for name in [queue] if queue is not None else queues:
            found = self.existing_queue(name)
            if not found.paused:
                open_queues[name] = found
        given = self.ask()
        order = [row[0] for row in given if row[2] is not None]
        lease = next((row[2] for row in given if row[2] is not None), None)
        expected: list[Task] = []
        for lane in self.lanes(open_queues, order):
            left = max_tasks - len(expected)
            if left > 0:
                self.claimed_from.add(lane[0].queue)
                expected += self.from_lane(lane, left, order[len(expected) :])
        self.claimed_from.update(open_queues)
        claimed = []
        for task in expected:
            heartbeat = open_queues[task.queue].heartbeat
            task = replace(task, state="in_progress", attempt=task.attempt + 1, ready_at=None, lease=lease)
            self.write(task.id, replace(task, started_at=self.now, lease_expires_at=self.now + heartbeat))
            claimed.append((task.id, task.attempt, lease))
        return claimed

    def lanes(self, queues: Iterable[str], order: list[int]) -> list[list[Task]]:
        """What is ready, by priority and queue; among queues of one priority chance decides, as `order` shows."""
        ready: dict[tuple[int, str], list[Task]] = {}
        for task in self.tasks():
            if task.queue in queues and self.ready(task):
                ready.setdefault((-task.priority, task.queue), []).append(task)

        def place(lane: list[Task]) -> tuple[int, int]:
            return -lane[0].priority, min((order.index(t.id) for t in lane if t.id in order), default=len(order))

        return sorted((sorted(lane, key=lambda task: (task.ready_at, task.id)) for lane in ready.values()), key=place)

    def ready(self, task: Task) -> bool:
        return (
            task.state == "pending"
            and task.ready_at is not None
            and task.ready_at <= self.now
            and not self.taken(task.id)
        )

    def from_lane(self, lane: list[Task], left: int, order: list[int]) -> list[Task]:
        """The head of the lane. A third claimer beside two open ones may begin further on, and misses nothing."""
        crowd = sum(lane[0].queue in other.claimed_from for other in self.others)
        if crowd >= 2:
            there = set(order[:left])
            drawn = [task for task in lane if task.id in there]
            if len(drawn) == min(left, len(lane)):
                return drawn
        return lane[:left]

    def heartbeat(self, tasks: Sequence[int], leases: Sequence[UUID]) -> set[int]:
        held = set()
        for id, lease in zip(tasks, leases, strict=True):
            task = self.held(id, lease)
            if task is None or task.started_at is None:
                continue
            queue = self.existing_queue(task.queue)
            if self.now < task.started_at + queue.timeout:
                held.add(id)
                if not self.taken(id):
                    self.write(id, replace(task, lease_expires_at=self.now + queue.heartbeat))
        return held

    def report_progress(self, task: int, lease: UUID, progress: Any) -> None:
        self.write(task, replace(self.surely_held(task, lease), progress=progress))

    def maintain(self) -> list[dict[str, int]]:
        lapsed = [
            task
            for task in self.tasks()
            if task.lease_expires_at is not None and task.lease_expires_at <= self.now and not self.taken(task.id)
        ]
        self.fail_all((task, True, None) for task in lapsed)
        return [{"scheduled": 0, "reclaimed": len(lapsed), "pruned": 0, "forgotten_workers": 0}]

    # Settlements

    def surely_held(self, task: int, lease: UUID) -> Task:
        if (found := self.held(task, lease)) is None:
            raise Refused(LEASE_LOST)
        return found

    def complete(self, task: int, lease: UUID, output: Any) -> None:
        self.finish(self.surely_held(task, lease), "succeeded")

    def complete_many(self, tasks: Sequence[int], leases: Sequence[UUID], outputs: Sequence[Any]) -> set[int]:
        settled = set()
        for id, lease in zip(tasks, leases, strict=True):
            if (task := self.held(id, lease)) is not None:
                self.finish(task, "succeeded")
                settled.add(id)
        return settled

    def complete_and_dequeue(
        self,
        tasks: Sequence[int],
        leases: Sequence[UUID],
        outputs: Sequence[Any],
        queues: Sequence[str],
        max_tasks: int,
    ) -> list[Any]:
        lost = set(tasks) - self.complete_many(tasks, leases, outputs)
        claimed = self.dequeue(queues=queues, max_tasks=max_tasks)
        # In which order the lost ones are named does not matter.
        named = [row[0] for row in self.ask()[: len(lost)]]
        return [(id, None, None) for id in (named if set(named) == lost else sorted(lost))] + claimed

    def fail(
        self, task: int, lease: UUID, error: Any, retryable: bool = True, retry_after: timedelta | None = None
    ) -> list[datetime | None]:
        ((_, _, ready_at),) = self.fail_all([(self.surely_held(task, lease), retryable, retry_after)])
        return [ready_at]

    def fail_many(
        self,
        tasks: Sequence[int],
        leases: Sequence[UUID],
        errors: Sequence[Any],
        retryable: Sequence[bool] | None = None,
        retry_after: Sequence[timedelta | None] | None = None,
    ) -> set[tuple[int, str, datetime | None]]:
        batch = {}
        for place, (id, lease) in enumerate(zip(tasks, leases, strict=True)):
            if (task := self.held(id, lease)) is not None:
                batch[id] = (task, retryable is None or retryable[place], retry_after[place] if retry_after else None)
        return self.fail_all(batch.values())

    def fail_all(self, batch: Iterable[tuple[Task, bool, timedelta | None]]) -> set[tuple[int, str, datetime | None]]:
        rows: set[tuple[int, str, datetime | None]] = set()
        for_good = []
        for task, retryable, retry_after in sorted(batch, key=lambda each: each[0].id):
            queue = self.existing_queue(task.queue)
            policy = task.retry_policy or queue.retry_policy
            task = replace(task, errors=min(task.errors + 1, 20))
            if retryable and task.attempt < policy.max_attempts:
                ready_at = self.now + (policy.backoff(task.attempt) if retry_after is None else retry_after)
                self.put_back(task, ready_at)
                rows.add((task.id, "pending", ready_at))
            else:
                for_good.append(task)
                rows.add((task.id, "failed", None))
        for task in for_good:
            self.leave_letter(task)
            self.finish(task, "failed")
        return rows

    def leave_letter(self, task: Task) -> None:
        if (name := self.existing_queue(task.queue).dead_letter_queue) is not None:
            letter = DeadLetter(
                task=task.id,
                queue=task.queue,
                attempts=task.attempt,
                enqueued_at=task.enqueued_at,
                dead_letter=task.dead_letter,
            )
            self.add(
                queue=name,
                priority=task.priority,
                ready_at=self.now,
                retry_policy=task.retry_policy,
                dead_letter=letter,
            )

    def snooze(self, task: int, lease: UUID, delay: timedelta) -> list[datetime]:
        found = self.surely_held(task, lease)
        self.put_back(replace(found, attempt=found.attempt - 1), self.now + delay)
        return [self.now + delay]

    def release(self, task: int, lease: UUID) -> None:
        self.surely_held(task, lease)
        self.release_many([task], [lease])

    def release_many(self, tasks: Sequence[int], leases: Sequence[UUID]) -> set[int]:
        released = set()
        for id, lease in zip(tasks, leases, strict=True):
            if (task := self.held(id, lease)) is not None:
                self.put_back(replace(task, attempt=task.attempt - 1), self.now)
                released.add(id)
        return released

    def put_back(self, task: Task, ready_at: datetime) -> None:
        task = replace(task, state="pending", ready_at=ready_at)
        self.write(task.id, replace(task, started_at=None, lease=None, lease_expires_at=None))

    def finish(self, task: Task, state: str) -> None:
        queue = self.queue(task.queue)
        kept = queue is None or queue.keep_history or state != "succeeded" or task.watched
        task = replace(task, state=state, ready_at=None, lease=None, lease_expires_at=None)
        self.write(task.id, replace(task, watched=False, progress=None) if kept else None)

    # By anybody

    def cancel(self, task: int) -> list[bool]:
        found = self.task(task)
        if found is None or not found.live:
            return [False]
        self.finish(found, "cancelled")
        return [True]

    def retry(self, task: int) -> None:
        for letter in self.tasks():
            if letter.state == "pending" and letter.dead_letter is not None and letter.dead_letter.task == task:
                self.finish(letter, "cancelled")
        found = self.task(task)
        if found is None or found.state not in ("failed", "cancelled"):
            raise self.wrong_state(task)
        self.existing_queue(found.queue)
        self.write(task, replace(found, state="pending", ready_at=self.now, attempt=0, started_at=None))

    def redrive(self, queue: str, max_tasks: int) -> list[int]:
        self.existing_queue(queue)
        letters = [
            task
            for task in self.tasks()
            if task.queue == queue and task.state == "pending" and task.dead_letter and not self.taken(task.id)
        ]
        count = 0
        for letter in letters[:max_tasks]:
            about = letter.dead_letter
            assert about is not None
            self.existing_queue(about.queue)
            origin = self.task(about.task)
            self.write(about.task, origin)
            if origin is not None and origin.state != "failed":
                self.finish(letter, "cancelled")
                continue
            self.write(letter.id, None)
            task = replace(letter, id=about.task, queue=about.queue, ready_at=self.now, attempt=0)
            task = replace(task, enqueued_at=about.enqueued_at, dead_letter=about.dead_letter, watched=False)
            self.write(about.task, replace(task, errors=origin.errors if origin else 1, progress=None))
            count += 1
        return [count]

    def delete_task(self, task: int) -> None:
        found = self.task(task)
        if found is None or found.live:
            raise self.wrong_state(task)
        self.write(task, None)

    def watch(self, task: int) -> list[str]:
        found = self.task(task)
        if found is None:
            raise Refused(TASK_NOT_FOUND)
        if found.live and not found.watched and not self.taken(task):
            self.write(task, replace(found, watched=True))
        return [found.state]


Saved = tuple[dict[Key, Task | Queue | None], set[str]]


# The same, as the database has it

SETUP = """
    create sequence public.clock_of_model;

    create or replace function underway._clock() returns timestamptz language sql volatile as $$
        select timestamptz 'epoch' + interval '1 microsecond' * pg_sequence_last_value('public.clock_of_model'::regclass)
    $$;

    create or replace function underway._began_at() returns timestamptz language sql volatile as $$
        select least(nullif(current_setting('model.began_at', true), '')::timestamptz, underway._clock())
    $$;
    """

# Whatever an earlier run has left: faster than a new database.
RESET = """
    delete from underway.task;
    delete from underway.task_history;
    delete from underway.attempt;
    delete from underway.queue;
    delete from underway.lane;
    delete from underway.floor;
    insert into underway.floor values ('', 0, '-infinity', '-infinity', '0');
    do $$
    declare
        v_name text;
    begin
        for v_name in
            select s.sequencename from pg_sequences s where s.schemaname = 'underway' and s.last_value is not null
        loop
            execute format('alter sequence underway.%I restart', v_name);
        end loop;
    end;
    $$;
    """

TASKS = """
    select
        t.id, t.queue, t.enqueued_at, t.priority, t.state::text, t.attempt,
        (select count(*) from underway.attempt a where a.task = t.id),
        case t.state when 'pending' then t.ready_at end, t.started_at, t.lease, t.lease_expires_at,
        (t.retry_policy).max_attempts, (t.retry_policy).initial_interval, t.dead_letter, t.watched, t.progress
    from underway.task t
    union all
    select
        h.id, h.queue, h.enqueued_at, h.priority, h.state::text, h.attempt,
        coalesce(jsonb_array_length(h.errors), 0),
        null, h.started_at, null, null,
        (h.retry_policy).max_attempts, (h.retry_policy).initial_interval, h.dead_letter, false, null
    from underway.task_history h
    order by 1"""

QUEUES = """
    select
        q.name, q.dead_letter_queue, (q.retry_policy).max_attempts, (q.retry_policy).initial_interval,
        q.timeout, q.heartbeat, q.keep_history, q.paused_at is not null
    from underway.queue q
    order by 1"""

NEXT_ID = "select last_value + is_called::integer from underway.task_id_seq"

# What must never be, whatever was done: the tasks of which it is true.
INVARIANTS = f"""
    with known as (
        select t.id, t.queue, t.attempt, t.retry_policy from underway.task t
        union all
        select h.id, h.queue, h.attempt, h.retry_policy from underway.task_history h
    )
    select 'it is there twice', k.id from known k group by k.id having count(*) > 1
    union all
    select 'it has had more attempts than it may', k.id
    from known k
    where k.attempt > coalesce((k.retry_policy).max_attempts, (%s::jsonb ->> k.queue)::integer)
       or k.attempt < 0
    union all
    select 'it is leased and not in progress, or the other way round', t.id
    from underway.task t
    where (t.state = 'in_progress') <> (t.lease is not null)
    union all
    select 'its errors are not where they should be', t.id
    from underway.task t
    where t.has_errors <> exists (select from underway.attempt a where a.task = t.id)
    union all
    select 'its errors have outlived it', a.task
    from underway.attempt a
    where not exists (select from underway.task t where t.id = a.task)
    union all
    select 'no claim looks into its lane', t.id
    from underway.task t
    where not exists (select from underway.lane l where (l.queue, l.priority) = (t.queue, t.priority))
       or not exists (select from underway.floor f where (f.queue, f.priority) = (t.queue, t.priority))
    union all
    select 'claims have passed it', hidden.id from ({HIDDEN}) hidden"""

COLUMNS = {
    "dequeue": "id, attempt, lease",
    "complete_and_dequeue": "id, attempt, lease",
    "fail_many": "id, state::text, ready_at",
}


def letter_of(value: dict[str, Any] | None) -> DeadLetter | None:
    if value is None:
        return None
    return DeadLetter(
        task=value["task"],
        queue=value["queue"],
        attempts=value["attempts"],
        enqueued_at=datetime.fromisoformat(value["enqueued_at"]),
        dead_letter=letter_of(value.get("dead_letter")),
    )


def tasks_of(session: Session) -> list[Task]:
    return [
        Task(
            id=row[0],
            queue=row[1],
            enqueued_at=row[2],
            priority=row[3],
            state=row[4],
            attempt=row[5],
            errors=row[6],
            ready_at=row[7],
            started_at=row[8],
            lease=row[9],
            lease_expires_at=row[10],
            retry_policy=None if row[11] is None else Policy(row[11], row[12]),
            dead_letter=letter_of(row[13]),
            watched=row[14],
            progress=row[15],
        )
        for row in session.rows(TASKS)
    ]


def queues_of(session: Session) -> list[Queue]:
    return [
        Queue(
            name=row[0],
            dead_letter_queue=row[1],
            retry_policy=Policy(row[2], row[3]),
            timeout=row[4],
            heartbeat=row[5],
            keep_history=row[6],
            paused=row[7],
        )
        for row in session.rows(QUEUES)
    ]


def as_parameter(value: Any) -> Any:
    """What psycopg takes for it."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "queue" in value[0]:
        return Jsonb(value)  # of enqueue_many
    if isinstance(value, Policy):
        return str(value)
    if isinstance(value, dict):
        return Jsonb(value)
    if isinstance(value, list):
        return [as_parameter(each) for each in value]
    return value


def same(seen: Sequence[T], expected: Sequence[T]) -> None:
    """Compare what is there; shows only what differs."""
    missing = [each for each in expected if each not in seen]
    added = [each for each in seen if each not in expected]
    assert (added, missing) == ([], []), "there is, and there should be"
    assert len(seen) == len(expected)


# The steps

NAMES = ["a", "b", "dead"]
SESSION = st.integers(0, 2)
PICK = st.integers(0, 99)
PICKS = st.lists(PICK, min_size=1, max_size=4)
COUNT = st.integers(1, 4)
QUEUE = st.sampled_from(["a", "a", "dead", "b"])
PRIORITY = st.sampled_from([0, 0, 0, 5, -1])
DELAY = st.sampled_from([0 * SECOND, SECOND, 40 * SECOND])
POLICY = st.sampled_from([Policy(2, 0 * SECOND), Policy(2, SECOND), Policy(1, SECOND), Policy(3, 10 * SECOND)])
WHEN = st.sampled_from([None, None, None, None, SECOND, 40 * SECOND, -timedelta(days=1)])
PASSING = st.sampled_from([SECOND / 1000, SECOND, 3 * SECOND, 31 * SECOND, 3600 * SECOND])
SETTING = st.one_of(
    st.tuples(st.just("retry_policy"), POLICY),
    st.tuples(st.just("dead_letter_queue"), st.sampled_from(["", "dead", "b", "a"])),
    st.tuples(st.just("keep_history"), st.booleans()),
    st.tuples(st.just("heartbeat"), st.sampled_from([30 * SECOND, 2 * SECOND])),
    st.tuples(st.just("timeout"), st.sampled_from([900 * SECOND, 30 * SECOND])),
)


@dataclass(frozen=True)
class Step:
    """A method of the machine, and with what it is called."""

    name: str
    arguments: dict[str, Any]

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


DRAWN: dict[str, tuple[int, st.SearchStrategy[Step]]] = {}


def drawn(weight: int, **arguments: st.SearchStrategy[Any]) -> Callable[[T], T]:
    """A step of the machine; how often it is drawn beside others, and with what."""

    def note_step(method: Any) -> Any:
        name = method.__name__
        DRAWN[name] = weight, st.fixed_dictionaries(arguments).map(lambda given: Step(name, given))
        return method

    return note_step


# One rule for all: of many, Hypothesis leaves half out in each run, and where nobody claims there is little to see.
STEP = st.deferred(
    lambda: st.sampled_from([name for name, (weight, _) in DRAWN.items() for _ in range(weight)]).flatmap(
        lambda name: DRAWN[name][1]
    )
)


class Machine(RuleBasedStateMachine):
    """Draws the steps. `sessions` do them, `observer` looks at what is committed."""

    exact = True

    def __init__(self, sessions: list[Session], observer: Session) -> None:
        super().__init__()
        self.sessions, self.observer = sessions, observer
        self.world = World()
        self.world.sessions = [Underway(self.world, number) for number in range(len(sessions))]
        self.looker = Underway(World(committed=self.world.committed), 0)
        self.grants: list[tuple[int, UUID]] = []
        self.most_attempts: dict[str, int] = {}
        self.may_go: set[int] = set()
        self.seen: list[Task] = []
        self.sound = True
        observer.connection.execute(RESET)
        self.set_clock(START)
        for session in sessions:
            session.run("select setseed(0.5)")

    def set_clock(self, now: datetime) -> None:
        self.world.now = now
        microseconds = (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        self.observer.run("select setval('public.clock_of_model', %s)", microseconds)

    # One step

    def do(self, number: int, verb: str, **arguments: Any) -> None:
        """Call a verb in a session and in its model, and compare. What would wait for another session is not done."""
        model, session = self.world.sessions[number], self.sessions[number]
        arguments = {name: value for name, value in arguments.items() if value is not None}
        answers: list[list[Any] | Refused] = []

        def answer() -> list[Any] | Refused:
            if not answers:
                answers.append(self.call(session, model, verb, arguments))
            return answers[0]

        def ask() -> list[Any]:
            given = answer()
            return [] if isinstance(given, Refused) else given

        self.sound = False
        model.ask = ask
        before = model.save()
        expected: Any
        try:
            expected = getattr(model, verb)(**arguments)
        except Waits:
            model.go_back(before)
            self.sound = True
            return
        except Refused as refusal:
            model.go_back(before)
            expected = refusal
        given = answer()
        self.compare_answers(given, expected)
        if verb in ("dequeue", "complete_and_dequeue"):
            self.remember_grants(ask())
        if verb == "delete_task":
            self.may_go.add(arguments["task"])
        if verb == "create_queue" and "retry_policy" in arguments:
            most = max(self.most_attempts.get(arguments["name"], 0), arguments["retry_policy"].max_attempts)
            self.most_attempts[arguments["name"]] = most
        if model.open:
            same(tasks_of(session), model.tasks())
            same(queues_of(session), model.queues())
        else:
            model.commit()
        self.look()

    def call(self, session: Session, model: Underway, verb: str, arguments: dict[str, Any]) -> list[Any] | Refused:
        named = ", ".join(f"{name} => %s" for name in arguments)
        shown = ", ".join(f"{name} => {value}" for name, value in arguments.items())
        given: list[Any] | Refused
        try:
            with session.connection.transaction() if model.open else contextlib.nullcontext():
                rows = session.rows(
                    f"select {COLUMNS.get(verb, '*')} from underway.{verb}({named})",
                    *map(as_parameter, arguments.values()),
                )
                given = [row[0] if len(row) == 1 else row for row in rows]
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith("UW"):
                note(f"-- {model.name}: {verb}({shown})")
                raise
            given = Refused(error.sqlstate or "")
        note(f"-- {model.name}: {verb}({shown}) -> {given!r}")
        return given

    def compare_answers(self, given: list[Any] | Refused, expected: Any) -> None:
        if isinstance(given, Refused) or isinstance(expected, Refused):
            assert repr(given) == repr(expected), "the answer, and what it should be"
        elif isinstance(expected, set):
            assert sorted(given) == sorted(expected)
        elif expected is not None:
            assert given == expected

    def remember_grants(self, rows: list[Any]) -> None:
        leases = {lease for _, _, lease in rows if lease is not None}
        assert len(leases) <= 1
        assert not leases & {lease for _, lease in self.grants}, "a lease is never given twice"
        self.grants += [(id, lease) for id, _, lease in rows if lease is not None]

    def look(self) -> None:
        """Compare what is committed, and see that nothing is as it must never be."""
        seen = tasks_of(self.observer)
        self.world.next_id = self.observer.value(NEXT_ID)
        same(seen, self.looker.tasks())
        same(queues_of(self.observer), self.looker.queues())
        assert self.observer.rows(INVARIANTS, Jsonb(self.most_attempts)) == []
        self.see_nothing_lost(seen)
        self.seen = seen
        self.sound = True

    def see_nothing_lost(self, seen: list[Task]) -> None:
        """What was there is there, and what was final is as it was, but for what was asked for."""
        now = {task.id: task for task in seen}
        for task in self.seen:
            after = now.get(task.id)
            if after is None:
                assert task.id in self.may_go or task.live, f"{task} is lost"
            elif not task.live and after != task:
                assert task.state != "succeeded", f"{task} was final"
                assert after.live or after.state in ("failed", "cancelled", "succeeded")

    # What to draw from

    def pick(self, candidates: Sequence[T], pick: int) -> T | None:
        return candidates[pick % len(candidates)] if candidates else None

    def some_task(self, number: int, pick: int, *states: str) -> int:
        """A task that is free to be named, most likely one in these states."""
        model = self.world.sessions[number]
        free = [task for task in model.tasks() if not model.taken(task.id)]
        wanted = [task.id for task in free if task.state in states]
        others = [task.id for task in free if task.state not in states]
        return self.pick(wanted * 4 + others[-1:], pick) or self.world.next_id + 100

    def some_grants(self, session: int, picks: list[int]) -> tuple[list[int], list[UUID]]:
        """Leases that are held, and perhaps one that was. Where none is held, mostly some are claimed first."""
        if not self.held_grants(session) and picks[0] % 5:
            self.do(session, "dequeue", queues=[queue.name for queue in self.world.sessions[session].queues()])
        model = self.world.sessions[session]
        held = self.held_grants(session)
        lost = [(id, lease) for id, lease in self.grants if not model.held(id, lease) and not model.taken(id)]
        lost = lost[-1:] if held or picks[0] % 5 == 0 else []
        drawn = [self.pick(held * 4 + lost, pick) for pick in picks]
        grants = [grant for grant in drawn if grant is not None]
        return [id for id, _ in grants], [lease for _, lease in grants]

    def held_grants(self, session: int) -> list[tuple[int, UUID]]:
        model = self.world.sessions[session]
        return [(id, lease) for id, lease in self.grants if model.held(id, lease) and not model.taken(id)]

    # Transactions

    @rule(step=STEP)
    def step(self, step: Step) -> None:
        getattr(self, step.name)(**step.arguments)

    def move(self, pick: int, sql: str, may: Callable[[Underway], bool], change: Callable[[Underway], None]) -> None:
        """Begin or end a transaction in a session that may."""
        number = self.pick([n for n, model in enumerate(self.world.sessions) if may(model)], pick)
        if number is None:
            return
        self.sound = False
        model = self.world.sessions[number]
        note(f"-- {model.name}: {sql}")
        for statement in sql.split("; "):
            self.sessions[number].run(statement)
        change(model)
        self.look()

    @drawn(8, pick=PICK)
    def begin(self, pick: int) -> None:
        began_at = f"set local model.began_at = '{self.world.now}'"
        self.move(pick, f"begin; {began_at}", lambda model: not model.open, Underway.begin)

    @drawn(3, pick=PICK)
    def commit(self, pick: int) -> None:
        self.move(pick, "commit", lambda model: model.open, Underway.commit)

    @drawn(2, pick=PICK)
    def rollback(self, pick: int) -> None:
        self.move(pick, "rollback", lambda model: model.open, Underway.rollback)

    @drawn(2, pick=PICK)
    def savepoint(self, pick: int) -> None:
        self.move(pick, "savepoint s", lambda model: model.open, Underway.set_savepoint)

    @drawn(1, pick=PICK)
    def rollback_to(self, pick: int) -> None:
        self.move(pick, "rollback to s", lambda model: model.saved is not None, Underway.rollback_to_savepoint)

    # Time

    @drawn(7, passing=PASSING)
    def time_passes(self, passing: timedelta) -> None:
        self.set_clock(self.world.now + passing)
        note(f"-- it is {self.world.now}")

    @drawn(5, session=SESSION)
    def maintain(self, session: int) -> None:
        self.do(session, "maintain")

    @drawn(2, session=SESSION, priority=PRIORITY)
    def raise_floors(self, session: int, priority: int) -> None:
        """What claims do now and then, by chance."""
        note(f"-- {self.world.sessions[session].name}: raise the floors of priority {priority}")
        self.sessions[session].run("select underway._raise_lane(q, %s) from unnest(%s::text[]) q", priority, NAMES)
        self.sessions[session].run("select underway._raise_leases()")
        self.look()

    # Queues

    @initialize()
    def set_up(self) -> None:
        self.do(0, "create_queue", name="dead", retry_policy=Policy(2, SECOND))
        self.do(0, "create_queue", name="a", dead_letter_queue="dead", retry_policy=Policy(2, 0 * SECOND))
        self.do(0, "create_queue", name="b", retry_policy=Policy(2, SECOND))
        self.do(0, "enqueue_many", queue="a", inputs=[{}, {}, {}])
        self.do(0, "enqueue", queue="b", input={})

    @drawn(4, session=SESSION, name=QUEUE, setting=SETTING)
    def create_queue(self, session: int, name: str, setting: tuple[str, Any]) -> None:
        given: dict[str, Any] = dict([setting])
        if self.world.sessions[session].queue(name) is None:
            given.setdefault("retry_policy", Policy(2, SECOND))  # without chance
        self.do(session, "create_queue", name=name, **given)

    @drawn(1, session=SESSION, name=QUEUE, force=st.booleans())
    def drop_queue(self, session: int, name: str, force: bool) -> None:
        if not self.world.sessions[session].open:
            self.do(session, "drop_queue", name=name, force=force)

    @drawn(1, session=SESSION, name=QUEUE)
    def pause_queue(self, session: int, name: str) -> None:
        self.do(session, "pause_queue", name=name)

    @drawn(2, session=SESSION, pick=PICK)
    def resume_queue(self, session: int, pick: int) -> None:
        paused = [queue.name for queue in self.world.sessions[session].queues() if queue.paused]
        self.do(session, "resume_queue", name=self.pick(paused, pick) or "a")

    # Into the queue

    def when(self, when: timedelta | None) -> dict[str, Any]:
        if when is None:
            return {}
        return {"delay": when} if when == SECOND else {"run_at": self.world.now + when}

    @drawn(4, session=SESSION, queue=QUEUE, priority=PRIORITY, when=WHEN, policy=st.none() | POLICY)
    def enqueue(self, session: int, queue: str, priority: int, when: timedelta | None, policy: Policy | None) -> None:
        options = {"priority": priority, "retry_policy": policy, **self.when(when)}
        self.do(session, "enqueue", queue=queue, input={}, **options)

    @drawn(3, session=SESSION, queue=QUEUE, count=COUNT, priority=PRIORITY, when=WHEN)
    def enqueue_many(self, session: int, queue: str, count: int, priority: int, when: timedelta | None) -> None:
        self.do(session, "enqueue_many", queue=queue, inputs=[{}] * count, priority=priority, **self.when(when))

    @drawn(1, session=SESSION, queues=st.lists(QUEUE, min_size=1, max_size=3), priority=PRIORITY)
    def enqueue_objects(self, session: int, queues: list[str], priority: int) -> None:
        tasks = [{"queue": queue, "input": {}, "priority": priority} for queue in queues]
        self.do(session, "enqueue_many", tasks=tasks)

    # Claims

    def some_queue(self, session: int, pick: int) -> str:
        """A queue, most likely one that has something."""
        model = self.world.sessions[session]
        having = sorted({task.queue for task in model.tasks() if model.ready(task)})
        return (NAMES + having * 5)[pick % len(NAMES + having * 5)]

    @drawn(10, session=SESSION, pick=PICK, count=COUNT)
    def dequeue(self, session: int, pick: int, count: int) -> None:
        self.do(session, "dequeue", queue=self.some_queue(session, pick), max_tasks=count)

    @drawn(4, session=SESSION, queues=st.permutations(NAMES), number=st.integers(1, 3), count=COUNT)
    def dequeue_of_several(self, session: int, queues: list[str], number: int, count: int) -> None:
        self.do(session, "dequeue", queues=queues[:number], max_tasks=count)

    # Settlements

    def settle(self, session: int, pick: int, verb: str, **arguments: Any) -> None:
        for task, lease in zip(*self.some_grants(session, [pick]), strict=True):
            self.do(session, verb, task=task, lease=lease, **arguments)

    def settle_many(self, session: int, picks: list[int], verb: str, **arguments: Any) -> None:
        tasks, leases = self.some_grants(session, picks)
        for name, value in arguments.items():
            arguments[name] = None if value is None else [value] * len(tasks)
        if tasks:
            self.do(session, verb, tasks=tasks, leases=leases, **arguments)

    @drawn(2, session=SESSION, picks=PICKS)
    def heartbeat(self, session: int, picks: list[int]) -> None:
        self.settle_many(session, picks, "heartbeat")

    @drawn(1, session=SESSION, pick=PICK)
    def report_progress(self, session: int, pick: int) -> None:
        self.settle(session, pick, "report_progress", progress={"percent": 40})

    @drawn(3, session=SESSION, pick=PICK)
    def complete(self, session: int, pick: int) -> None:
        self.settle(session, pick, "complete", output={})

    @drawn(1, session=SESSION, picks=PICKS)
    def complete_many(self, session: int, picks: list[int]) -> None:
        self.settle_many(session, picks, "complete_many", outputs={})

    @drawn(2, session=SESSION, picks=PICKS, count=COUNT)
    def complete_and_dequeue(self, session: int, picks: list[int], count: int) -> None:
        queue = self.some_queue(session, picks[0])
        tasks, leases = self.some_grants(session, picks)
        settled = {"tasks": tasks, "leases": leases, "outputs": [{}] * len(tasks)}
        if tasks:
            self.do(session, "complete_and_dequeue", **settled, queues=[queue], max_tasks=count)

    @drawn(6, session=SESSION, pick=PICK, retryable=st.sampled_from([None, False]), after=st.none() | DELAY)
    def fail(self, session: int, pick: int, retryable: bool | None, after: timedelta | None) -> None:
        self.settle(session, pick, "fail", error={"type": "E"}, retryable=retryable, retry_after=after)

    @drawn(3, session=SESSION, picks=PICKS, retryable=st.sampled_from([None, True, False, False]))
    def fail_many(self, session: int, picks: list[int], retryable: bool | None) -> None:
        self.settle_many(session, picks, "fail_many", errors={}, retryable=retryable)

    @drawn(3, session=SESSION, pick=PICK, delay=DELAY)
    def snooze(self, session: int, pick: int, delay: timedelta) -> None:
        self.settle(session, pick, "snooze", delay=delay)

    @drawn(3, session=SESSION, pick=PICK)
    def release(self, session: int, pick: int) -> None:
        self.settle(session, pick, "release")

    @drawn(1, session=SESSION, picks=PICKS)
    def release_many(self, session: int, picks: list[int]) -> None:
        self.settle_many(session, picks, "release_many")

    # By anybody

    @drawn(2, session=SESSION, pick=PICK)
    def cancel(self, session: int, pick: int) -> None:
        self.do(session, "cancel", task=self.some_task(session, pick, "pending", "in_progress"))

    @drawn(4, session=SESSION, pick=PICK)
    def retry(self, session: int, pick: int) -> None:
        self.do(session, "retry", task=self.some_task(session, pick, "failed", "cancelled"))

    @drawn(3, session=SESSION, queue=st.sampled_from(["dead", "dead", "dead", "b"]), count=COUNT)
    def redrive(self, session: int, queue: str, count: int) -> None:
        self.do(session, "redrive", queue=queue, max_tasks=count)

    @drawn(2, session=SESSION, pick=PICK, when=WHEN)
    def reschedule(self, session: int, pick: int, when: timedelta | None) -> None:
        run_at = self.world.now + (when or 0 * SECOND)
        self.do(session, "reschedule", task=self.some_task(session, pick, "pending"), run_at=run_at)

    @drawn(2, session=SESSION, pick=PICK, priority=PRIORITY)
    def reprioritize(self, session: int, pick: int, priority: int) -> None:
        self.do(session, "reprioritize", task=self.some_task(session, pick, "pending"), priority=priority)

    @drawn(1, session=SESSION, pick=PICK)
    def delete_task(self, session: int, pick: int) -> None:
        self.do(session, "delete_task", task=self.some_task(session, pick, "succeeded", "failed", "cancelled"))

    @drawn(1, session=SESSION, pick=PICK)
    def watch(self, session: int, pick: int) -> None:
        self.do(session, "watch", task=self.some_task(session, pick, "pending", "in_progress"))

    # The end

    def teardown(self) -> None:
        for session in self.sessions:
            if session.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                session.run("rollback")
        if self.sound:
            self.see_that_all_comes()

    def see_that_all_comes(self) -> None:
        """What is pending in the end is given out, once its time has come."""
        pending = {task.id for task in self.seen if task.state == "pending"}
        self.set_clock(self.world.now + timedelta(days=365))
        names = self.observer.column("select name from underway.queue")
        self.observer.run("select underway.resume_queue(name) from underway.queue")
        claimed = self.observer.column("select id from underway.dequeue(%s::text[], 10000)", names)
        assert len(claimed) == len(pending)
        assert set(claimed) == pending


@pytest.fixture
def connected(database: str) -> Iterator[tuple[list[Session], Session]]:
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(Session(database, impatient=True)) for _ in range(4)]
        for session in sessions:
            session.run("set timezone = 'UTC'")
        sessions[3].connection.execute(SETUP)
        yield sessions[:3], sessions[3]


def test_whatever_is_done_in_whatever_order_is_as_in_the_model(connected: tuple[list[Session], Session]) -> None:
    run_state_machine_as_test(
        lambda: Machine(*connected),
        settings=settings(
            max_examples=500 if LONG else 60,
            stateful_step_count=80 if LONG else 60,
            derandomize=not LONG,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
