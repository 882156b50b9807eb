"""A model of Underway in memory: what a session sees, and what each verb makes of it.

A further verb is a method of `Underway` with the arguments of its function in SQL; a further setting is a field of
`Queue` or `Task`. What keeps a task from being claimed belongs into `ready`, how many may be claimed into `queue_room`
and `key_room`, which of a lane into `from_lane`, `from_limited_lane` and `from_fair_lane`, and what a new task meets
into `take_key`.
"""

from __future__ import annotations

import itertools
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
    ready_at: datetime | None = None  # while it is pending or waiting
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
    concurrency_key: str | None = None
    limited: bool = False  # it is in progress, and counted by limits
    parked: bool = False
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


@dataclass(frozen=True)
class Line:
    """What is known of the places that keys have in the line of a fair queue: not before, and not behind."""

    places: dict[str, tuple[int, int]] = field(default_factory=dict)


# A task by its id, a queue by its name; by a kind, a queue and a key, whether that one is paused, or its hold; a batch,
# and what is known of one of its tasks; the line of a queue; and a bucket by its number, of several the last counts.
Key = int | str | tuple[str, str, str]
Written = Task | Queue | Hold | Renewal | Batch | Outcome | Bucket | Line | bool | None
Saved = tuple[dict[Key, Written], dict[str, bool], set[str]]


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
    next_id: int = 1
    next_batch: int = 1
    next_bucket: int = 1
    next_place: int = 1  # in the lines of keys
    keyed: set[str] = field(default_factory=set)  # the queues that ever had a concurrency key, or were fair


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
        self.claimed_from: dict[str, bool] = {}  # whose claim lock it has until its transaction ends; whether alone
        self.keyed: set[str] = set()
        self.used: Counter[tuple[str, str]] = Counter()  # tokens, by the claim that is under way
        self.saved: Saved | None = None
        self.ask: Callable[[], list[Any]] = list
        self.ask_parked: Callable[[], set[int]] = set
        self.ask_locked: Callable[[], set[str]] = set
        self.maintaining = False
        self.ask_waiting: Callable[[], set[int]] = set
        self.ask_became: Callable[[], dict[int, tuple[bool, bool, bool]]] = dict

    # Transactions

    def begin(self) -> None:
        self.open = True

    def commit(self) -> None:
        self.world.committed.update(self.changes)
        self.world.keyed |= self.keyed
        self.rollback()

    def rollback(self) -> None:
        self.changes, self.claimed_from, self.keyed, self.saved, self.open = {}, {}, set(), None, False

    def set_savepoint(self) -> None:
        self.saved = self.save()

    def rollback_to_savepoint(self) -> None:
        assert self.saved is not None
        self.go_back(self.saved)

    def save(self) -> Saved:
        return dict(self.changes), dict(self.claimed_from), set(self.keyed)

    def go_back(self, saved: Saved) -> None:
        self.changes, self.claimed_from, self.keyed = dict(saved[0]), dict(saved[1]), set(saved[2])

    def adopt(self, tasks: Iterable[Task], queues: Iterable[Queue]) -> None:
        """Take over what there is: the keys that differ count as written."""
        there: dict[Key, Written] = {**{task.id: task for task in tasks}, **{queue.name: queue for queue in queues}}
        seen = {**self.world.committed, **self.changes}
        for key in seen.keys() | there.keys():
            if seen.get(key) != there.get(key) and not isinstance(key, tuple):
                self.changes[key] = there.get(key)
        if not self.open:
            self.world.committed.update(self.changes)
            self.changes = {}

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
        if fair:
            self.keyed.add(name)
        if max_running:
            for task in self.tasks():
                if task.queue == name and task.state == "in_progress" and not task.limited:
                    self.write(task.id, replace(task, limited=True))

    def lock_claims(self, name: str) -> None:
        """No claim from the queue is under way, and none begins until the transaction ends."""
        if not self.may_claim(name, alone=True):
            raise Waits
        self.claimed_from[name] = True

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
        self.write(("line", name, ""), None)
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
        rows = self.enqueue_unique(queue, inputs, [None] * len(inputs), in_line=True, **options)
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
        in_line: bool = False,
    ) -> list[tuple[int, bool, bool]]:
        """With `in_line`, as those without unique keys, what is due in a fair queue waits for the turn of its key."""
        settings = self.existing_queue(queue)
        if concurrency_key is not None:
            self.keyed.add(queue)
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
                parked=in_line and settings.fair and not after and delay is None and run_at is None,
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
                and (value.queue, value.unique_key)
                == (
                    task.queue,
                    task.unique_key,
                )
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
        open_queues = {}
        for name in [queue] if queue is not None else queues:
            found = self.existing_queue(name)
            if not found.paused:
                open_queues[name] = found
        given = self.ask()
        order = [row[0] for row in given if row[2] is not None]
        lease = next((row[2] for row in given if row[2] is not None), None)
        several = queue is None and len(queues) > 1
        parked = self.ask_parked() if several else set()
        # A queue from which another has claimed under a limit, or is claiming without this one, is left alone.
        limited = {
            name
            for name, found in open_queues.items()
            if found.max_running or found.rate_limit or found.fair or self.is_keyed(name)
        }
        free = {name for name in open_queues if self.may_claim(name, alone=name in limited)}
        claimed: list[tuple[int, int, UUID | None]] = []
        self.used.clear()
        for lane in self.lanes(free, order, parked):
            left = max_tasks - len(claimed)
            if left == 0:
                break
            name = lane[0].queue
            if name in limited:
                left = min(left, self.queue_room(open_queues[name]))
                if open_queues[name].fair:
                    given_out = self.from_fair_lane(lane, left, order[len(claimed) :])
                else:
                    given_out = self.from_limited_lane(lane, left)
            else:
                lane = [task for task in lane if self.ready(task)]
                given_out = self.from_lane(lane, left, order[len(claimed) :])
            for task in given_out:
                task = replace(task, state="in_progress", attempt=task.attempt + 1, ready_at=None, lease=lease)
                task = replace(task, limited=name in limited, parked=False, started_at=self.now)
                task = replace(task, unique_key=None if task.unique_until_start else task.unique_key)
                self.write(task.id, replace(task, lease_expires_at=self.now + open_queues[name].heartbeat))
                claimed.append((task.id, task.attempt, lease))
                self.used.update({(name, key) for key in ("", task.concurrency_key or "")})
        # Of several queues chance decides how many are looked at.
        looked_at = free & self.ask_locked() if self.open and several else free
        for name in looked_at:
            self.forget_places(open_queues[name])
        self.take_tokens(order)
        if self.open:
            for name in looked_at:
                self.claimed_from[name] = self.claimed_from.get(name, False) or name in limited
        return claimed

    def is_keyed(self, queue: str) -> bool:
        return queue in self.world.keyed | self.keyed

    def may_claim(self, queue: str, alone: bool) -> bool:
        locks = [other.claimed_from[queue] for other in self.others if queue in other.claimed_from]
        return not (locks if alone else any(locks))

    def lanes(self, queues: Iterable[str], order: list[int], parked: set[int]) -> list[list[Task]]:
        """What is pending, by priority and queue, each lane in its order.

        Among queues of one priority chance decides, as `order` shows, and what is newly parked.
        """
        pending: dict[tuple[int, str], list[Task]] = {}
        for task in self.tasks():
            if task.queue in queues and task.state == "pending":
                pending.setdefault((-task.priority, task.queue), []).append(task)

        def place(lane: list[Task]) -> tuple[int, int]:
            looked_at = any(task.id in parked and not task.parked for task in lane)
            last = -1 if looked_at else len(order)
            return -lane[0].priority, min((order.index(t.id) for t in lane if t.id in order), default=last)

        return sorted((sorted(lane, key=lambda task: (task.ready_at, task.id)) for lane in pending.values()), key=place)

    def ready(self, task: Task) -> bool:
        return (
            task.state == "pending"
            and not task.parked
            and task.ready_at is not None
            and task.ready_at <= self.now
            and not self.taken(task.id)
        )

    def from_lane(self, lane: list[Task], left: int, order: list[int]) -> list[Task]:
        """The head of the lane. A third claimer beside two open ones may begin further on, and misses nothing."""
        if lane and sum(lane[0].queue in other.claimed_from for other in self.others) >= 2:
            there = set(order[:left])
            drawn = [task for task in lane if task.id in there]
            if len(drawn) == min(left, len(lane)):
                return drawn
        return lane[:left]

    def from_limited_lane(self, lane: list[Task], left: int) -> list[Task]:
        """What limits allow: of each key what is parked first. Parks what waits for its key.

        Who claims is alone, and whoever frees a key notes it: all that is parked and has room is looked at.
        """
        name, priority = lane[0].queue, lane[0].priority
        queue, tasks = self.existing_queue(name), [task for task in self.tasks() if task.queue == name]
        if left <= 0:
            return []
        room = Counter({key: self.key_room(queue, key) for key in {task.concurrency_key for task in lane}})

        def turns(lane: list[Task], room: Counter[str | None]) -> tuple[list[Task], list[Task]]:
            """Those that have a turn, and those that have none."""
            split: tuple[list[Task], list[Task]] = [], []
            had: Counter[str | None] = Counter()
            for task in lane:
                had[task.concurrency_key] += 1
                blocked = task.concurrency_key is not None and had[task.concurrency_key] > room[task.concurrency_key]
                split[blocked].append(task)
            return split

        # What another is changing has its turn as it was, and is passed over.
        drawn = [t for t in turns([t for t in lane if t.parked], room)[0][:left] if not self.taken(t.id)]
        room.subtract(task.concurrency_key for task in drawn)
        if len(drawn) < left:
            for task in tasks:
                if task.parked and task.priority >= priority and task not in drawn:
                    room[task.concurrency_key] = 0
            came = [t for t in lane if not t.parked and t.ready_at is not None and t.ready_at <= self.now]
            with_turn, blocked = turns(came, room)
            fresh = [task for task in with_turn[: left - len(drawn)] if not self.taken(task.id)]
            room.subtract(task.concurrency_key for task in fresh)
            for task in blocked:
                if room[task.concurrency_key] <= 0 and not self.taken(task.id):
                    self.write(task.id, replace(task, parked=True))
            drawn += fresh
        return sorted(drawn, key=lambda task: (task.ready_at, task.id))

    def from_fair_lane(self, lane: list[Task], left: int, order: list[int]) -> list[Task]:
        """What the database gives, as `order` shows, if keys are served in turn by that; or what it should have given.

        All that is due is parked. Of each key that has something the first task comes, then of each the second.
        """
        if left <= 0:
            return []
        queue = self.existing_queue(lane[0].queue)
        heads: dict[str, list[Task]] = {}
        for task in lane:
            if self.ready(task):
                task = replace(task, parked=True)
                self.write(task.id, task)
            if task.parked and len(heads.get(task.concurrency_key or "", [])) < self.key_room(
                queue, task.concurrency_key
            ):
                heads.setdefault(task.concurrency_key or "", []).append(task)
        found = self.line(queue.name)
        fair = self.in_turn(heads, sorted(heads, key=lambda key: found.get(key, (0, NO_LIMIT))[1]))[:left]
        if not heads:
            return []

        of_lane = {task.id: task for task in lane}
        given = [of_lane[id] for id in itertools.takewhile(of_lane.__contains__, order)]
        held_up = {task.id for tasks in heads.values() for task in tasks if self.taken(task.id)}
        if held_up:
            # Whose turn it is that another is changing is passed over, and loses that turn.
            self.changes["line", queue.name, ""] = None
            free = {key: [task for task in tasks if task.id not in held_up] for key, tasks in heads.items()}
            of_key = {key: [task for task in given if (task.concurrency_key or "") == key] for key in free}
            as_many = len(fair) - len(held_up) <= len(given) <= len(fair)
            in_order = all(tasks == free[key][: len(tasks)] for key, tasks in of_key.items())
            enough = as_many and in_order and sum(map(len, of_key.values())) == len(given)
            return given if enough else [task for task in fair if task.id not in held_up]

        keys = [task.concurrency_key or "" for task in given]
        served = [*dict.fromkeys(keys)]
        others = [key for key in heads if key not in served]
        if not heads.keys() >= set(served):
            return fair
        if [task.id for task in self.in_turn(heads, served + others)[:left]] != [task.id for task in given]:
            return fair
        if any(
            found[second][1] < found[first][0]
            for first, second in itertools.combinations(served + others, 2)
            if first in served and first in found and second in found
        ):
            return fair

        # Whoever was served last stands last. What another notes of a key may have an earlier place.
        places = {key: found.get(key, (0, self.world.next_place)) for key in others}
        for key in [*dict.fromkeys(keys[::-1])][::-1]:
            self.world.next_place += 1
            places[key] = (0 if self.noted_by_others(queue.name, key) else self.world.next_place, self.world.next_place)
        self.changes["line", queue.name, ""] = Line(places)
        return given

    def in_turn(self, heads: dict[str, list[Task]], line: list[str]) -> list[Task]:
        turns = itertools.zip_longest(*(heads[key] for key in line))
        return [task for turn in turns for task in turn if task is not None]

    def line(self, queue: str) -> dict[str, tuple[int, int]]:
        key = ("line", queue, "")
        found = self.changes[key] if key in self.changes else self.world.committed.get(key)
        return found.places if isinstance(found, Line) else {}

    def noted_by_others(self, queue: str, key: str) -> bool:
        """Whether others have changed something of a key, and may have noted that in its line."""
        for other in self.others:
            for id, value in other.changes.items():
                for task in (value, self.world.committed.get(id)):
                    if isinstance(task, Task) and (task.queue, task.concurrency_key or "") == (queue, key):
                        return True
            if ("paused", queue, key) in other.changes:
                return True
        return False

    def forget_places(self, queue: Queue) -> None:
        """A key that a claim finds without room, or without anything that is parked, leaves the line."""
        parked = {task.concurrency_key or "" for task in self.tasks() if task.queue == queue.name and task.parked}
        found = self.line(queue.name)
        places = {key: place for key, place in found.items() if key in parked and self.key_room(queue, key) > 0}
        if places != found:
            self.changes["line", queue.name, ""] = Line(places)

    # Limits

    def queue_room(self, queue: Queue) -> int:
        """How many more tasks of a queue may be claimed."""
        running = sum(task.queue == queue.name and task.limited for task in self.tasks())
        room = NO_LIMIT if queue.max_running is None else queue.max_running - running
        return min(room, int(self.tokens(queue)) - self.used[queue.name, ""])

    def key_room(self, queue: Queue, key: str | None) -> int:
        """How many more tasks of a key may be claimed."""
        if not key:
            return NO_LIMIT
        if (queue.name, key) in self.paused_keys():
            return 0
        running = sum((task.queue, task.concurrency_key) == (queue.name, key) and task.limited for task in self.tasks())
        tokens = int(self.tokens(queue, key)) - self.used[queue.name, key]
        return max(0, min(queue.max_running_per_key - running, tokens))

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

    def maintain(self) -> list[dict[str, int]]:
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
        return [{"scheduled": 0, "reclaimed": len(lapsed), "pruned": 0, "forgotten_workers": 0}]

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
        self.finish(for_good, "failed")
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
        task = replace(task, state="pending", ready_at=ready_at, limited=False)
        self.write(task.id, replace(task, started_at=None, lease=None, lease_expires_at=None))

    def finish(self, tasks: Iterable[Task], state: str) -> None:
        in_batch = []
        for task in tasks:
            if task.in_batch:
                in_batch.append(task.id)
            queue = self.queue(task.queue)
            task = replace(task, state=state, ready_at=None, lease=None, lease_expires_at=None)
            task = replace(task, limited=False, parked=False, in_batch=False, watched=False, progress=None)
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
            task
            for task in self.tasks()
            if task.queue == queue and task.state == "pending" and task.dead_letter and not self.taken(task.id)
        ]
        keys = {letter.id: self.keys_of_origin(letter) for letter in letters}
        count = 0
        for letter in sorted(letters[:max_tasks], key=lambda letter: (keys[letter.id][0] or "", letter.id)):
            about = letter.dead_letter
            assert about is not None
            self.existing_queue(about.queue)
            origin = self.task(about.task)
            self.write(letter.id, letter)
            self.write(about.task, origin)
            if origin is not None and origin.state != "failed":
                self.finish([letter], "cancelled")
                continue
            unique_key, concurrency_key = keys[letter.id]
            task = replace(letter, id=about.task, queue=about.queue, ready_at=self.now, attempt=0, parked=False)
            task = replace(task, enqueued_at=about.enqueued_at, dead_letter=about.dead_letter, watched=False)
            task = replace(task, unique_key=unique_key, concurrency_key=concurrency_key, in_batch=False)
            try:
                self.add(replace(task, errors=origin.errors if origin else 1, progress=None))
            except Refused:
                continue  # the letter stays
            self.write(letter.id, None)
            self.settle_batches(self.note_outcome([letter.id] if letter.in_batch else [], "cancelled"))
            self.write(task.id, self.reopen(self.task(task.id) or task))
            count += 1
        return [count]

    def keys_of_origin(self, letter: Task) -> tuple[str | None, str | None]:
        origin = self.task(letter.dead_letter.task) if letter.dead_letter else None
        return (None, None) if origin is None or origin.live else (origin.unique_key, origin.concurrency_key)

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
