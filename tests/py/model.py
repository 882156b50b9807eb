"""A model of Underway in memory: what a session sees, and what each verb changes in it.

A new verb is a method of `Underway` with the arguments of its SQL function; a new setting is a field of `Queue` or
`Task`. Where the database may choose (which ready tasks a claim takes, which tasks are parked), the model takes over
what the database did, and `check_claim` and `take_over` say what it may do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

INVALID_ARGUMENT, LEASE_LOST, QUEUE_NOT_FOUND = "UW001", "UW002", "UW003"
TASK_NOT_FOUND, WRONG_STATE, QUEUE_IN_USE = "UW004", "UW005", "UW006"
UNIQUE_CONFLICT, QUEUE_FULL, BATCH_NOT_FOUND, BATCH_FINAL = "UW010", "UW011", "UW012", "UW013"

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NO_LIMIT = 2**31 - 1


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
    max_running: int | None = None
    max_running_per_key: int = 1
    fair: bool = False
    rate_limit: int | None = None
    rate_limit_per_key: int | None = None
    rate_period: timedelta = SECOND
    max_length: int | None = None
    has_slots: bool = False  # it has had a max_running
    has_keys: bool = field(default=False, compare=False)  # a hint, taken over from the database


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """The task that a dead letter stands for, and what that needs to come back."""

    task: int
    queue: str
    attempts: int
    enqueued_at: datetime
    unique_key: str | None = None
    concurrency_key: str | None = None
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
    ready_at: datetime | None = None  # while it is live
    started_at: datetime | None = None
    lease: UUID | None = None
    lease_expires_at: datetime | None = None
    retry_policy: Policy | None = None
    dead_letter: DeadLetter | None = None
    watched: bool = False
    progress: Any = None
    input: Any = None
    unique_key: str | None = None
    unique_until_start: bool = False  # while it is live
    former_unique_key: str | None = field(default=None, compare=False)  # until it started
    concurrency_key: str | None = None
    holds_slot: bool = False
    parked: bool = False  # taken over from the database
    in_batch: bool = False  # by a batch, while it is live

    @property
    def live(self) -> bool:
        return self.state in ("pending", "in_progress", "waiting")


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A unique key that is taken for a while, whether its task has succeeded or not."""

    task: int
    expires_at: datetime


@dataclass(frozen=True)
class Renewal:
    """A heartbeat that found its task locked by another session."""

    task: int
    lease: UUID
    lease_expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What has become of some tasks. `dependents` wait for that: each with its event, and whether it fails without."""

    dependents: tuple[tuple[int, str, bool], ...] = ()
    implicit: bool = True
    became: tuple[bool, bool, bool] = (False, False, False)  # failed, final, succeeded
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Outcome:
    """How a task of a batch has ended that has not succeeded; None while it is live."""

    state: str | None = None


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """The tokens of a queue, or of a key of it, as they were at a time."""

    queue: str
    key: str  # empty for the queue's own
    tokens: float
    refilled_at: datetime


# A task by its id, a queue by its name; by a kind, a queue and a key, whether that one is paused, or its hold; a batch,
# and what is known of one of its tasks; and a bucket by its number, of several the last counts.
Key = int | str | tuple[str, str, str]
Written = Task | Queue | Hold | Renewal | Batch | Outcome | Bucket | bool | None
KeyOfQueue = tuple[str, str | None]


class Refused(Exception):
    """The verb is refused with this SQLSTATE, and nothing is changed."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class Waits(Exception):
    """The verb would wait for the transaction of another session."""


@dataclass
class World:
    """What all sessions share: what is committed, the clock, and the sessions themselves."""

    committed: dict[Key, Written] = field(default_factory=dict)
    sessions: list[Underway] = field(default_factory=list)
    now: datetime = START
    exact: bool = True  # or the clock goes back, and which task comes first is not predicted
    next_id: int = 1
    next_batch: int = 1
    next_bucket: int = 1
    # Keys of which a transaction may have missed a parked task, because another one had locked it.
    unsettled: set[KeyOfQueue] = field(default_factory=set)
    moved: set[int] = field(default_factory=set)  # tasks that keep their place in the line


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
        self.changes: dict[Key, Written] = {}
        self.saved: dict[Key, Written] | None = None
        self.given: list[Any] | None = None  # by the database; None while nobody has asked it
        # The queues whose claim lock it has: whether alone, and whether it has the limit lock.
        self.ask_claim_locks: Callable[[], dict[str, tuple[bool, bool]]] = dict
        self.maintaining = False
        self.ask_waiting: Callable[[], set[int]] = set
        self.ask_watermark: Callable[[str, int], datetime] = lambda _queue, _priority: self.now
        self.ask_became: Callable[[], dict[int, tuple[bool, bool, bool]]] = dict

    # Transactions

    def begin(self) -> None:
        self.open = True

    def commit(self) -> None:
        self.world.committed.update(self.changes)
        self.rollback()

    def rollback(self) -> None:
        self.changes, self.saved, self.open = {}, None, False

    def set_savepoint(self) -> None:
        self.saved = dict(self.changes)

    def rollback_to_savepoint(self) -> None:
        assert self.saved is not None
        self.changes = dict(self.saved)

    def keep(self) -> None:
        """Outside a transaction each change is committed at once."""
        if not self.open:
            self.world.committed.update(self.changes)
            self.changes = {}

    def adopt(self, tasks: Iterable[Task], queues: Iterable[Queue]) -> None:
        """Take over what there is: the keys that differ count as written."""
        there: dict[Key, Written] = {**{task.id: task for task in tasks}, **{queue.name: queue for queue in queues}}
        seen = {**self.world.committed, **self.changes}
        for key in seen.keys() | there.keys():
            was, now = seen.get(key), there.get(key)
            hints = [each.has_keys for each in (was, now) if isinstance(each, Queue)]
            if (was != now or len(set(hints)) > 1) and not isinstance(key, tuple):
                self.changes[key] = now
        self.keep()

    def take_over(self, tasks: Iterable[Task], queues: Iterable[Queue]) -> None:
        """Take over what the database chooses: which tasks are parked, and where a task stands in the line.

        Only a task that is ready moves in the line, and it stays ready. Where keys take no turns it keeps its place, or
        moves back to the watermark.
        """
        for there in tasks:
            task = self.task(there.id)
            if task is None or (task.parked, task.ready_at) == (there.parked, there.ready_at):
                continue
            queue = self.queue(task.queue)
            fair = queue is not None and queue.fair
            if task.ready_at is not None and there.ready_at is not None and task.ready_at != there.ready_at:
                may_move = task.concurrency_key is not None or task.id in self.world.moved
                if not may_move or not self.is_due(task) or not self.is_due(there):
                    continue
                place = max(task.ready_at, self.ask_watermark(task.queue, task.priority))
                if there.ready_at != place and not fair and self.world.exact:
                    continue
                self.world.unsettled.add((task.queue, task.concurrency_key))
                task = replace(task, ready_at=there.ready_at)
            if there.parked and (there.state != "pending" or there.concurrency_key is None):
                continue
            self.changes[task.id] = replace(task, parked=there.parked)
        for given in queues:
            queue = self.queue(given.name)
            if queue is not None and queue.has_keys != given.has_keys:
                self.changes[given.name] = replace(queue, has_keys=given.has_keys)
        self.world.moved.clear()
        self.keep()

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
        assert found is None or isinstance(found, Task)
        return found

    def queue(self, name: str) -> Queue | None:
        found = self.changes[name] if name in self.changes else self.world.committed.get(name)
        assert found is None or isinstance(found, Queue)
        return found

    def paused_keys(self) -> list[tuple[str, str]]:
        seen = {**self.world.committed, **self.changes}
        return sorted(key[1:] for key, paused in seen.items() if isinstance(key, tuple) and paused is True)

    def holds(self) -> dict[tuple[str, str], Hold]:
        seen = {**self.world.committed, **self.changes}
        return {key[1:]: hold for key, hold in seen.items() if isinstance(key, tuple) and isinstance(hold, Hold)}

    def existing_queue(self, name: str) -> Queue:
        if (queue := self.queue(name)) is None:
            raise Refused(QUEUE_NOT_FOUND)
        return queue

    def held(self, task: int, lease: UUID) -> Task | None:
        found = self.task(task)
        return found if found is not None and found.lease == lease else None

    def is_due(self, task: Task) -> bool:
        """Whether it is ready, or will be with the next turn of its key."""
        return task.ready_at is not None and task.ready_at <= self.now + SECOND / 1000

    def taken(self, key: Key) -> bool:
        return any(key in other.changes for other in self.others)

    def write(self, key: Key, value: Written) -> None:
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
        max_running: int | None = None,
        max_running_per_key: int | None = None,
        fair: bool | None = None,
        rate_limit: int | None = None,
        rate_limit_per_key: int | None = None,
        rate_period: timedelta | None = None,
        max_length: int | None = None,
    ) -> None:
        limits = (max_running, max_running_per_key, fair, rate_limit_per_key, rate_period)
        if any(limit is not None for limit in limits):
            self.lock_claims(name)
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
        given: dict[str, Any] = {
            "retry_policy": retry_policy,
            "timeout": timeout,
            "heartbeat": heartbeat,
            "keep_history": keep_history,
            "max_running": max_running,
            "max_running_per_key": max_running_per_key,
            "fair": fair,
            "rate_limit": rate_limit,
            "rate_limit_per_key": rate_limit_per_key,
            "rate_period": rate_period,
            "max_length": max_length,
        }
        queue = replace(queue, **{setting: value for setting, value in given.items() if value is not None})
        if dead_letter_queue is not None:
            queue = replace(queue, dead_letter_queue=dead_letter_queue or None)
        queue = replace(queue, max_running=queue.max_running or None, max_length=queue.max_length or None)
        queue = replace(queue, rate_limit=queue.rate_limit or None, rate_limit_per_key=queue.rate_limit_per_key or None)
        self.write(name, queue)
        if max_running and not queue.has_slots:
            self.write(name, replace(queue, has_slots=True))
            for task in self.tasks():
                if task.queue == name and task.state == "in_progress":
                    self.write(task.id, replace(task, holds_slot=True))

    def lock_claims(self, name: str) -> None:
        """No claim from the queue is under way, and none begins until the transaction ends."""
        if any(name in other.ask_claim_locks() for other in self.others):
            raise Waits

    def drop_queue(self, name: str, force: bool) -> None:
        self.lock_claims(name)
        queue = self.existing_queue(name)
        # What others are putting into it would be left without a queue: allowed, and not modelled.
        for other in self.others:
            if any(isinstance(value, Task) and value.queue == name for value in other.changes.values()):
                raise Waits
        self.write(name, queue)
        tasks = [task for task in self.tasks() if task.live and task.queue == name]
        if tasks and not force:
            raise Refused(QUEUE_IN_USE)
        self.finish(tasks, "cancelled")
        for referring in self.queues():
            if referring.dead_letter_queue == name:
                self.write(referring.name, replace(referring, dead_letter_queue=None))
        for kind, keys in (("paused", self.paused_keys()), ("held", [*self.holds()])):
            for queue_of_key, key in keys:
                if queue_of_key == name:
                    self.write((kind, name, key), None)
        for number, bucket in self.buckets().items():
            if bucket.queue == name:
                self.write(number, None)
        self.write(name, None)

    def pause_queue(self, name: str) -> list[bool]:
        self.lock_claims(name)
        return self.set_paused(name, True)

    def resume_queue(self, name: str) -> list[bool]:
        return self.set_paused(name, False)

    def set_paused(self, name: str, paused: bool) -> list[bool]:
        queue = self.existing_queue(name)
        self.write(name, replace(queue, paused=paused))
        return [queue.paused is not paused]

    def pause_key(self, queue: str, concurrency_key: str) -> list[bool]:
        return self.set_key_paused(queue, concurrency_key, True)

    def resume_key(self, queue: str, concurrency_key: str) -> list[bool]:
        return self.set_key_paused(queue, concurrency_key, False)

    def set_key_paused(self, queue: str, key: str, paused: bool) -> list[bool]:
        self.existing_queue(queue)
        changes = ((queue, key) in self.paused_keys()) is not paused
        self.write(("paused", queue, key), paused)
        return [changes]

    # Into the queue

    def enqueue(self, queue: str, input: Any, **options: Any) -> list[int]:
        return self.enqueue_many(queue, [input], **options)[0]

    def enqueue_many(
        self,
        queue: str = "",
        inputs: Sequence[Any] = (),
        tasks: Sequence[dict[str, Any]] | None = None,
        **options: Any,
    ) -> list[list[int]]:
        if tasks is not None:
            return [[self.enqueue(**options)[0] for options in tasks]]
        rows = self.enqueue_unique(queue, inputs, [None] * len(inputs), **options)
        return [[id for id, _, _ in rows]]

    def enqueue_unique(
        self,
        queue: str,
        inputs: Sequence[Any],
        unique_keys: Sequence[str | None],
        priority: int = 0,
        delay: timedelta | None = None,
        run_at: datetime | None = None,
        retry_policy: Policy | None = None,
        on_conflict: str = "return",
        unique_for: timedelta | None = None,
        unique_until: str = "finish",
        concurrency_key: str | None = None,
        after: Sequence[int] = (),
        after_failure: str = "wait",
    ) -> list[tuple[int, bool, bool]]:
        settings = self.existing_queue(queue)
        first = self.world.next_id
        self.world.next_id += len(inputs)
        rows = [(0, False, False)] * len(inputs)
        given = sorted(enumerate(zip(inputs, unique_keys, strict=True)), key=lambda each: each[1][1] or "~")
        for place, (input, unique_key) in given:  # in the order of keys, in which they are taken
            task = Task(
                id=first + place,
                queue=queue,
                enqueued_at=self.now,
                priority=priority,
                ready_at=max(self.now + (delay or 0 * SECOND), run_at or self.now),
                retry_policy=retry_policy,
                unique_key=unique_key,
                unique_until_start=unique_until == "start",
                concurrency_key=concurrency_key,
                input=input,
            )
            rows[place] = self.take_key(task, on_conflict, unique_for)
        length = sum(task.queue == queue and task.state == "pending" for task in self.tasks())
        if settings.max_length is not None and length > settings.max_length and any(created for _, created, _ in rows):
            raise Refused(QUEUE_FULL)
        if after:
            self.come_after([id for id, created, _ in rows if created], sorted(set(after)), after_failure)
        return rows

    def take_key(self, task: Task, on_conflict: str, unique_for: timedelta | None) -> tuple[int, bool, bool]:
        """Who has its unique key then, and whether that one was created or replaced."""
        holder = self.holder(task.queue, task.unique_key)
        held = None if holder is not None else self.held_by(task.queue, task.unique_key)
        if holder is None and held is None:
            self.add(task)
            if unique_for is not None and task.unique_key is not None:
                hold = Hold(task=task.id, expires_at=self.now + unique_for)
                self.write(("held", task.queue, task.unique_key), hold)
            return task.id, True, False
        if on_conflict == "error":
            raise Refused(UNIQUE_CONFLICT)
        if holder is None:
            assert held is not None
            return held, False, False
        if on_conflict != "replace" or holder.state != "pending":
            return holder.id, False, False
        task = replace(
            holder,
            parked=False,
            priority=task.priority,
            ready_at=task.ready_at,
            input=task.input,
            retry_policy=task.retry_policy,
            concurrency_key=task.concurrency_key,
            unique_until_start=task.unique_until_start,
        )
        self.write(task.id, task)
        return task.id, False, True

    def held_by(self, queue: str, unique_key: str | None) -> int | None:
        """The task that a key is held for; one that failed or was cancelled holds it no longer."""
        hold = self.holds().get((queue, unique_key or ""))
        if hold is None or hold.expires_at <= self.now:
            return None
        found = self.task(hold.task)
        return None if found is not None and found.state in ("failed", "cancelled") else hold.task

    def holder(self, queue: str, unique_key: str | None) -> Task | None:
        """The live task that has a key."""
        if unique_key is None:
            return None
        having = [t for t in self.tasks() if t.live and (t.queue, t.unique_key) == (queue, unique_key)]
        return having[0] if having else None

    def add(self, task: Task) -> None:
        """Make it live, where none is that has its key. Who is just taking the key or giving it up is waited for."""
        holder = self.holder(task.queue, task.unique_key)
        if holder is not None and self.taken(holder.id):
            raise Waits
        if holder is not None:
            raise Refused(UNIQUE_CONFLICT)
        for value in (value for other in self.others for value in other.changes.values()):
            if (
                isinstance(value, Task)
                and task.unique_key
                and value.queue == task.queue
                and task.unique_key in (value.unique_key, value.former_unique_key)
            ):
                raise Waits
        self.write(task.id, task)

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
        return replace(found, parked=False)

    # Claims

    def dequeue(
        self, queue: str | None = None, queues: Sequence[str] = (), max_tasks: int = 1
    ) -> list[tuple[int, int, UUID | None]]:
        found = [self.existing_queue(name) for name in ([queue] if queue is not None else queues)]
        if self.given is None:
            return []
        claimed = [(id, lease) for id, _, lease in self.given if lease is not None]
        self.check_claim([id for id, _ in claimed], [queue for queue in found if self.may_claim(queue)], max_tasks)
        rows: list[tuple[int, int, UUID | None]] = []
        for id, lease in claimed:
            task = self.task(id)
            assert task is not None
            queue_of_task = self.existing_queue(task.queue)
            task = replace(task, state="in_progress", attempt=task.attempt + 1, lease=lease, parked=False)
            task = replace(task, holds_slot=queue_of_task.has_slots, started_at=self.now)
            if task.unique_until_start and task.unique_key is not None:
                task = replace(task, unique_key=None, former_unique_key=task.unique_key)
            self.write(id, replace(task, lease_expires_at=self.now + queue_of_task.heartbeat))
            rows.append((id, task.attempt, lease))
        self.take_tokens([id for id, _ in claimed])
        return rows

    def has_limits(self, queue: Queue) -> bool:
        return bool(queue.max_running or queue.rate_limit or queue.fair or queue.has_keys)

    def may_claim(self, queue: Queue) -> bool:
        """Claims within limits are made by one transaction at a time; others skip the queue meanwhile."""
        locks = [locks[queue.name] for other in self.others if queue.name in (locks := other.ask_claim_locks())]
        taken = any(alone or (limited and self.has_limits(queue)) for alone, limited in locks)
        return not queue.paused and not taken

    def check_claim(self, ids: Sequence[int], queues: Sequence[Queue], max_tasks: int) -> None:
        """Check that a claim took what it may, in order, and no less than it could."""
        pending = {task.id: task for task in self.tasks() if task.state == "pending" and not self.taken(task.id)}
        assert set(ids) <= pending.keys(), f"of {ids} these are pending and free: {[*pending]}"
        assert len(set(ids)) == len(ids) <= max_tasks
        given = [pending[id] for id in ids]
        for task in given:
            assert task.queue in {queue.name for queue in queues}, f"{task} must not be claimed now"
            assert task.ready_at is not None
            assert task.ready_at <= self.now, f"{task} is not ready"
        assert [task.priority for task in given] == sorted((task.priority for task in given), reverse=True)

        room = sum(self.check_claim_from(queue, given, [*pending.values()]) for queue in queues)
        assert len(ids) >= min(max_tasks, room) or not self.world.exact, (
            f"a claim took {ids}, and {min(max_tasks, room)} tasks could start"
        )

    def check_claim_from(self, queue: Queue, given: Sequence[Task], pending: Sequence[Task]) -> int:
        """Check what a claim took from a queue. Returns how many tasks it could take at least."""
        mine = [task for task in given if task.queue == queue.name]
        pending = [task for task in pending if task.queue == queue.name and self.is_ready(task)]
        ready = [task for task in pending if not task.parked]
        rest = [task for task in pending if task not in mine]
        last = min((task.priority for task in given), default=NO_LIMIT)
        alone = not self.others_open()

        if not self.has_limits(queue):
            assert all(task.concurrency_key is None for task in mine), (
                f"{queue} may have limits, of which it is not known"
            )
            if any(task.concurrency_key is not None for task in ready):
                self.changes.update({task.id: self.changes.get(task.id, task) for task in ready})  # it locked them
                return 0
            if not self.world.exact:
                return len(ready)
            for task in mine:
                earlier = [t for t in rest if t.priority == task.priority and order(t) < order(task)]
                assert not earlier, f"{task} was claimed before {earlier}"
            assert not [task for task in rest if task.priority > last], f"{rest} had a higher priority"
            assert [order(task) for task in mine] == sorted(order(task) for task in mine)
            return len(ready)

        assert len(mine) <= max(0, self.queue_room(queue)), f"of {queue} too many tasks start"
        rooms = {key: self.key_room(queue, key) for key in {task.concurrency_key for task in pending}}
        for key, room in rooms.items():
            of_key = [task for task in mine if task.concurrency_key == key]
            assert len(of_key) <= room, f"of key {key} of {queue} too many tasks start"
            if key is not None and queue.fair:
                places = [(-task.priority, task.id) for task in of_key]
            else:
                places = [order(task) for task in of_key]
            assert places == sorted(places), f"key {key} of {queue} was served out of order"
        if queue.fair:
            if alone and self.world.exact:
                self.check_turns(mine, ready, rooms)
                # A key that is served twice has its other tasks in line for the next claim.
                for key, task in {task.concurrency_key: task for task in reversed(mine)}.items():
                    of_key = [t for t in rest if t.concurrency_key == key and t.priority > task.priority]
                    assert not of_key or key is None or (queue.name, key) in self.world.unsettled, (
                        f"{task} was claimed before {of_key}"
                    )
        elif self.world.exact:
            for task in mine:
                skipped = [
                    t
                    for t in rest
                    if t.concurrency_key == task.concurrency_key
                    and order(t) < order(task)
                    and (not t.parked or (alone and (t.queue, t.concurrency_key) not in self.world.unsettled))
                ]
                assert not skipped, f"{task} was claimed before {skipped}"

        # A task that another transaction has locked may stand for the room of its key.
        locked = {task.concurrency_key for task in self.tasks() if task.queue == queue.name and self.taken(task.id)}
        due = Counter(task.concurrency_key for task in ready)
        most = {
            key: 0 if key is not None and key in locked else min(count, 1 if queue.fair and key else count, rooms[key])
            for key, count in due.items()
        }
        return max(0, min(sum(most.values()), self.queue_room(queue)))

    def check_turns(self, given: Sequence[Task], ready: Sequence[Task], rooms: dict[str | None, int]) -> None:
        """Check that keys were served in turn, each once before another was served twice, in the order of the line."""
        for priority in sorted({task.priority for task in given}, reverse=True):
            left = Counter(rooms) - Counter(task.concurrency_key for task in given if task.priority > priority)
            keys = [task.concurrency_key for task in given if task.priority == priority]
            turns = [1 if key is None else keys[:place].count(key) + 1 for place, key in enumerate(keys)]
            assert turns == sorted(turns), f"{given} are not in turn"
            line: dict[str, datetime] = {}
            for task in ready:
                if task.priority == priority and (key := task.concurrency_key) is not None and left[key] > 0:
                    assert task.ready_at is not None
                    line[key] = min(line.get(key, task.ready_at), task.ready_at)
            first = [key for key in dict.fromkeys(keys) if key is not None]
            # Keys whose turns are at the same time come in any order.
            assert [line.get(key) for key in first] == sorted(line.values())[: len(first)], (
                f"keys were served in the order {first}, and their line is {line}"
            )

    def is_ready(self, task: Task) -> bool:
        return task.state == "pending" and task.ready_at is not None and task.ready_at <= self.now

    # Limits

    def queue_room(self, queue: Queue) -> int:
        """How many more tasks of a queue may be claimed."""
        running = sum(task.queue == queue.name and task.state == "in_progress" for task in self.tasks())
        room = NO_LIMIT if queue.max_running is None else queue.max_running - running
        return min(room, int(self.tokens(queue)))

    def key_room(self, queue: Queue, key: str | None) -> int:
        """How many more tasks of a key may be claimed."""
        if not key:
            return NO_LIMIT
        if (queue.name, key) in self.paused_keys():
            return 0
        of_key = [task for task in self.tasks() if (task.queue, task.concurrency_key) == (queue.name, key)]
        running = sum(task.state == "in_progress" for task in of_key)
        return max(0, min(queue.max_running_per_key - running, int(self.tokens(queue, key))))

    def buckets(self) -> dict[Key, Bucket]:
        seen = {**self.world.committed, **self.changes}
        return {key: bucket for key, bucket in seen.items() if isinstance(bucket, Bucket)}

    def tokens(self, queue: Queue, key: str = "") -> float:
        """What the bucket of a queue holds, or that of a key. It fills evenly, and no clock takes from it."""
        limit = queue.rate_limit_per_key if key else queue.rate_limit
        if limit is None:
            return NO_LIMIT
        buckets = [bucket for bucket in self.buckets().values() if (bucket.queue, bucket.key) == (queue.name, key)]
        if not buckets or buckets[-1].refilled_at > self.now + queue.rate_period:
            return limit
        passed = max(self.now - buckets[-1].refilled_at, 0 * SECOND)
        return min(limit, buckets[-1].tokens + limit * passed / queue.rate_period)

    def take_tokens(self, claimed: list[int]) -> None:
        """Take tokens for what the database has claimed, which may not be more than there are."""
        taken: Counter[tuple[str, str]] = Counter()
        for id in claimed:
            task = self.task(id)
            assert task is not None
            taken.update({(task.queue, key) for key in ("", task.concurrency_key or "")})
        for (name, key), count in taken.items():
            tokens = self.tokens(self.existing_queue(name), key)
            if tokens == NO_LIMIT:
                continue
            assert count <= tokens, f"of {name}, {key} there start {count}, and there are {tokens} tokens"
            for number, bucket in self.buckets().items():
                if (bucket.queue, bucket.key) == (name, key) and not self.taken(number):
                    self.changes[number] = None
            bucket = Bucket(queue=name, key=key, tokens=tokens - count, refilled_at=self.now)
            self.changes["bucket", "", str(self.world.next_bucket)] = bucket
            self.world.next_bucket += 1

    def heartbeat(self, tasks: Sequence[int], leases: Sequence[UUID]) -> set[int]:
        held = set()
        for id, lease in zip(tasks, leases, strict=True):
            task = self.held(id, lease)
            if task is None or task.started_at is None:
                continue
            queue = self.existing_queue(task.queue)
            if self.now < task.started_at + queue.timeout:
                held.add(id)
                until = self.now + queue.heartbeat
                if not self.taken(id):
                    self.write(id, replace(task, lease_expires_at=until))
                elif task.lease_expires_at is not None and task.lease_expires_at < until:
                    self.write(("renewal", self.name, f"{id} {lease} {until}"), Renewal(id, lease, until))
        return held

    def renewed_until(self, task: Task) -> datetime | None:
        """Until when a heartbeat has renewed a lease that has lapsed in its row."""
        seen = {**self.world.committed, **self.changes}
        found = [each for each in seen.values() if isinstance(each, Renewal)]
        until = [each.lease_expires_at for each in found if (each.task, each.lease) == (task.id, task.lease)]
        return max((each for each in until if each > self.now), default=None)

    def report_progress(self, task: int, lease: UUID, progress: Any) -> None:
        self.write(task, replace(self.surely_held(task, lease), progress=progress))

    def _run_chores(self) -> list[dict[str, int]]:
        self.maintaining = True
        self.settle_batches(sorted(self.batches()))
        self.maintaining = False
        lapsed = [
            task
            for task in self.tasks()
            if task.lease_expires_at is not None and task.lease_expires_at <= self.now and not self.taken(task.id)
        ]
        renewed = {task.id: until for task in lapsed if (until := self.renewed_until(task)) is not None}
        for task in lapsed:
            if task.id in renewed:
                self.write(task.id, replace(task, lease_expires_at=renewed[task.id]))
        lapsed = [task for task in lapsed if task.id not in renewed]
        self.fail_all((task, True, None) for task in lapsed)
        self.prune_batches()
        for (queue, key), hold in self.holds().items():
            if hold.expires_at <= self.now and not self.taken(("held", queue, key)):
                self.write(("held", queue, key), None)
        for number, bucket in self.buckets().items():
            queue_of_key = self.queue(bucket.queue)
            period = queue_of_key.rate_period if queue_of_key else 0 * SECOND
            if bucket.key and bucket.refilled_at < self.now - period and not self.taken(number):
                self.write(number, None)
        return [
            {
                "scheduled": 0,
                "reclaimed": len(lapsed),
                "expired": 0,
                "pruned": 0,
                "forgotten_workers": 0,
                "to_vacuum": [],
            }
        ]

    # Settlements

    def surely_held(self, task: int, lease: UUID) -> Task:
        if (found := self.held(task, lease)) is None:
            raise Refused(LEASE_LOST)
        return found

    def complete(self, task: int, lease: UUID, output: Any) -> None:
        self.finish([self.surely_held(task, lease)], "succeeded")

    def complete_many(self, tasks: Sequence[int], leases: Sequence[UUID], outputs: Sequence[Any]) -> set[int]:
        held = [self.held(id, lease) for id, lease in zip(tasks, leases, strict=True)]
        settled = {task.id: task for task in held if task is not None}
        self.finish(settled.values(), "succeeded")
        return set(settled)

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
        named = [row[0] for row in (self.given or [])[: len(lost)]]
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
        self.finish(for_good, "failed")
        return rows

    def leave_letter(self, task: Task) -> None:
        if (name := self.existing_queue(task.queue).dead_letter_queue) is not None:
            letter = DeadLetter(
                task=task.id,
                queue=task.queue,
                attempts=task.attempt,
                enqueued_at=task.enqueued_at,
                unique_key=task.unique_key,
                concurrency_key=task.concurrency_key,
                dead_letter=task.dead_letter,
            )
            self.world.next_id += 1
            self.add(
                Task(
                    id=self.world.next_id - 1,
                    queue=name,
                    enqueued_at=self.now,
                    priority=task.priority,
                    ready_at=self.now,
                    retry_policy=task.retry_policy,
                    dead_letter=letter,
                    input=task.input,
                )
            )

    def snooze(self, task: int, lease: UUID, delay: timedelta) -> list[datetime] | None:
        found = self.surely_held(task, lease)
        self.put_back(replace(found, attempt=found.attempt - 1), self.now + delay if delay else None)
        return [self.now + delay] if delay else None

    def release(self, task: int, lease: UUID) -> None:
        self.surely_held(task, lease)
        self.release_many([task], [lease])

    def release_many(self, tasks: Sequence[int], leases: Sequence[UUID]) -> set[int]:
        released = set()
        for id, lease in zip(tasks, leases, strict=True):
            if (task := self.held(id, lease)) is not None:
                self.put_back(replace(task, attempt=task.attempt - 1))
                released.add(id)
        return released

    def put_back(self, task: Task, ready_at: datetime | None = None) -> None:
        """Without a time it keeps its place in the line, but no place before the watermark."""
        if ready_at is None:
            self.world.moved.add(task.id)
        task = replace(task, state="pending", ready_at=ready_at or task.ready_at, holds_slot=False)
        self.write(task.id, replace(task, started_at=None, lease=None, lease_expires_at=None))

    def finish(self, tasks: Iterable[Task], state: str) -> None:
        in_batch = []
        for task in tasks:
            if task.in_batch:
                in_batch.append(task.id)
            queue = self.queue(task.queue)
            task = replace(task, state=state, ready_at=None, lease=None, lease_expires_at=None)
            task = replace(task, holds_slot=False, parked=False, in_batch=False, watched=False, progress=None)
            task = replace(task, unique_until_start=False)
            if queue is not None and not queue.keep_history and state == "succeeded":
                task = replace(task, input=None, errors=0)
            self.write(task.id, task)
        self.settle_batches(self.note_outcome(in_batch, state))

    # After others

    def batches(self) -> dict[int, Batch]:
        seen = {**self.world.committed, **self.changes}
        return {
            int(key[2]): batch for key, batch in seen.items() if isinstance(key, tuple) and isinstance(batch, Batch)
        }

    def outcomes(self, batch: int) -> dict[int, str | None]:
        """What is known of those tasks of a batch that have not succeeded."""
        seen = {**self.world.committed, **self.changes}
        return {
            int(key[2]): outcome.state
            for key, outcome in seen.items()
            if isinstance(key, tuple) and isinstance(outcome, Outcome) and key[1] == str(batch)
        }

    def come_after(self, tasks: Sequence[int], after: Sequence[int], after_failure: str) -> None:
        if not tasks:
            return
        found = {id: self.task(id) for id in after}
        if any(task is not None and self.taken(id) for id, task in found.items()):
            raise Waits
        number = self.world.next_batch
        for id, task in found.items():
            if task is None:
                raise Refused(TASK_NOT_FOUND)
            self.write(id, replace(task, in_batch=task.live))
            if task.live or task.state != "succeeded":
                self.write(("outcome", str(number), str(id)), Outcome(None if task.live else task.state))
        event = "final" if after_failure == "run" else "success"
        self.write(("batch", "", str(number)), Batch())
        self.begin_waiting(number, tasks, event, after_failure == "fail")
        self.settle_batches([number])

    def begin_waiting(self, number: int, tasks: Sequence[int], event: str, fails: bool = False) -> None:
        batch = self.batches()[number]
        dependents = (*batch.dependents, *((id, event, fails) for id in tasks))
        self.write(("batch", "", str(number)), replace(batch, dependents=dependents))
        for id in tasks:
            waiting = self.task(id)
            assert waiting is not None
            self.write(id, replace(waiting, state="waiting", parked=False))

    def enqueue_batch(self, tasks: Sequence[dict[str, Any]], **callbacks: dict[str, Any]) -> list[int]:
        number = self.world.next_batch
        self.write(("batch", "", str(number)), Batch(implicit=False))
        self.join(number, self.enqueue_many(tasks=tasks)[0])
        for event in ("success", "final", "failure"):
            if (task := callbacks.get(f"on_{event}")) is not None:
                self.begin_waiting(number, self.enqueue(**task), event)
        self.settle_batches([number])
        return [number]

    def join(self, number: int, tasks: Iterable[int]) -> None:
        """New tasks of this transaction are in_batch by a batch."""
        for id in tasks:
            task = self.task(id)
            assert task is not None
            self.write(id, replace(task, in_batch=True))
            self.write(("outcome", str(number), str(id)), Outcome())

    def extend_batch(self, batch: int, tasks: Sequence[dict[str, Any]]) -> list[list[int]]:
        found = self.batches().get(batch)
        if found is None or found.implicit:
            raise Refused(BATCH_NOT_FOUND)
        self.write(("batch", "", str(batch)), found)
        if found.became[1]:
            raise Refused(BATCH_FINAL)
        (ids,) = self.enqueue_many(tasks=tasks)
        self.join(batch, ids)
        return [ids]

    def cancel_batch(self, batch: int) -> list[int]:
        found = self.batches().get(batch)
        if found is None or found.implicit:
            raise Refused(BATCH_NOT_FOUND)
        live = sorted(id for id, outcome in self.outcomes(batch).items() if outcome is None)
        return [sum(self.cancel(id)[0] for id in live)]

    def note_outcome(self, tasks: Sequence[int], state: str) -> list[int]:
        """Note how tasks have ended that batches follow; gives those batches."""
        noted = []
        for number in sorted(self.batches()):
            ended = [id for id in tasks if id in self.outcomes(number)]
            for id in ended:
                self.write(("outcome", str(number), str(id)), None if state == "succeeded" else Outcome(state))
            noted += [number] * bool(ended)
        return noted

    def settle_batches(self, numbers: Sequence[int]) -> None:
        while numbers:
            doomed = [id for number in numbers for id in self.settle_batch(number)]
            failed = [replace(self.waiting(id), errors=1) for id in sorted(doomed)]
            for task in failed:
                self.leave_letter(task)
            self.finish([replace(task, in_batch=False) for task in failed], "failed")
            numbers = self.note_outcome([task.id for task in failed if task.in_batch], "failed")

    def settle_batch(self, number: int) -> list[int]:
        """Release what waits for what has become of it; gives those of its dependents that fail with it.

        Where another transaction is open, it may be left to `maintain`: the database says whether it was.
        """
        batch, outcomes = self.batches()[number], self.outcomes(number)
        live, failed = None in outcomes.values(), any(outcomes.values())
        was = batch.became
        became = (was[0] or failed, was[1] or not live, was[2] or not (live or failed))
        if became != was and self.others_open() and self.ask_became().get(number, became) != became:
            return []
        if became != was:
            expires_at = None if not batch.implicit else batch.expires_at if live else self.now  # others in weeks
            batch = replace(batch, became=became, expires_at=expires_at)
            self.write(("batch", "", str(number)), batch)
        # One that another has locked, or had, is passed over until a look that comes later.
        waiting = [id for id, _, _ in batch.dependents if self.is_waiting(id) and not self.taken(id)]
        if became == was or self.others_open():
            left = self.ask_waiting()
            waiting = [id for id in waiting if id not in left or (self.maintaining and not self.others_open())]
        come = dict(zip(("failure", "final", "success"), became, strict=True))
        for id, event, _ in batch.dependents:
            if id in waiting and come[event]:
                task = self.waiting(id)
                assert task.ready_at is not None
                self.write(id, replace(task, state="pending", ready_at=max(task.ready_at, self.now)))
        waiting = [id for id in waiting if self.is_waiting(id)]
        if come["success"]:
            needless = [id for id, event, _ in batch.dependents if id in waiting and event == "failure"]
            self.finish([self.waiting(id) for id in needless], "cancelled")
        return [id for id, _, fails in batch.dependents if id in waiting and fails and failed]

    def others_open(self) -> bool:
        return any(other.open for other in self.others)

    def is_waiting(self, task: int) -> bool:
        found = self.task(task)
        return found is not None and found.state == "waiting"

    def waiting(self, task: int) -> Task:
        found = self.task(task)
        assert found is not None
        assert found.state == "waiting"
        return found

    def prune_batches(self) -> None:
        for number, batch in self.batches().items():
            if batch.expires_at is None or batch.expires_at > self.now or self.taken(("batch", "", str(number))):
                continue
            outcomes = self.outcomes(number)
            if None in outcomes.values() or any(self.is_waiting(id) for id, _, _ in batch.dependents):
                self.write(("batch", "", str(number)), replace(batch, expires_at=self.now + timedelta(days=1)))
                continue
            gone = [id for id in outcomes if not self.taken(("outcome", str(number), str(id)))]
            for id in gone:
                self.write(("outcome", str(number), str(id)), None)
            if len(gone) == len(outcomes):
                self.write(("batch", "", str(number)), None)

    def reopen(self, task: Task) -> Task:
        """A task has come back from the history: its batches follow it anew."""
        for number in self.batches():
            if task.id in self.outcomes(number):
                self.write(("outcome", str(number), str(task.id)), Outcome())
        return replace(task, in_batch=True)

    # By anybody

    def cancel(self, task: int) -> list[bool]:
        found = self.task(task)
        if found is None or not found.live:
            return [False]
        self.finish([found], "cancelled")
        return [True]

    def retry(self, task: int) -> None:
        self.finish(
            [
                letter
                for letter in self.tasks()
                if letter.state == "pending" and letter.dead_letter is not None and letter.dead_letter.task == task
            ],
            "cancelled",
        )
        found = self.task(task)
        if found is None or found.state not in ("failed", "cancelled"):
            raise self.wrong_state(task)
        self.existing_queue(found.queue)
        self.add(self.reopen(replace(found, state="pending", ready_at=self.now, attempt=0, started_at=None)))

    def redrive(self, queue: str, max_tasks: int) -> list[int]:
        self.existing_queue(queue)
        letters = [
            (task, task.dead_letter)
            for task in self.tasks()
            if task.queue == queue and task.state == "pending" and task.dead_letter and not self.taken(task.id)
            if self.queue(task.dead_letter.queue) is not None
        ]
        count = 0
        for letter, about in sorted(letters[:max_tasks], key=lambda each: (each[1].unique_key or "", each[0].id)):
            origin = self.task(about.task)
            self.write(letter.id, letter)
            self.write(about.task, origin)
            if origin is not None and origin.state != "failed":
                self.finish([letter], "cancelled")
                continue
            task = replace(letter, id=about.task, queue=about.queue, ready_at=self.now, attempt=0)
            task = replace(task, enqueued_at=about.enqueued_at, dead_letter=about.dead_letter, watched=False)
            task = replace(task, unique_key=about.unique_key, concurrency_key=about.concurrency_key, in_batch=False)
            try:
                self.add(replace(task, errors=origin.errors if origin else 1, progress=None))
            except Refused:
                continue  # the letter stays
            self.write(letter.id, None)
            self.settle_batches(self.note_outcome([letter.id] if letter.in_batch else [], "cancelled"))
            self.write(task.id, self.reopen(self.task(task.id) or task))
            count += 1
        return [count]

    def delete_task(self, task: int) -> None:
        found = self.task(task)
        if found is None or found.live:
            raise self.wrong_state(task)
        self.write(task, None)
        place = (found.queue, found.unique_key or "")
        if found.state != "succeeded" and place in self.holds() and self.holds()[place].task == task:
            self.write(("held", *place), None)

    def watch(self, task: int) -> list[str]:
        found = self.task(task)
        if found is None:
            raise Refused(TASK_NOT_FOUND)
        if found.live and not found.watched and not self.taken(task):
            self.write(task, replace(found, watched=True))
        return [found.state]


def order(task: Task) -> tuple[int, datetime | None, int]:
    """Its place among the tasks of its queue, or of its key."""
    return -task.priority, task.ready_at, task.id
