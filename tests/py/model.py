"""A model of Underway in memory: what a session sees, and what each verb makes of it.

A further verb is a method of `Underway` with the arguments of its function in SQL; a further setting is a field of
`Queue` or `Task`. What keeps a task from being claimed belongs into `ready`, how many of a lane may be claimed into
`from_lane`, and what a new task meets into `add`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

INVALID_ARGUMENT, LEASE_LOST, QUEUE_NOT_FOUND = "UW001", "UW002", "UW003"
TASK_NOT_FOUND, WRONG_STATE, QUEUE_IN_USE = "UW004", "UW005", "UW006"

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


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


Key = int | str  # a task by its id, a queue by its name
Written = Task | Queue | None
Saved = tuple[dict[Key, Written], set[str]]


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

    def adopt(self, tasks: Iterable[Task], queues: Iterable[Queue]) -> None:
        """Take over what there is: the keys that differ count as written."""
        there: dict[Key, Written] = {**{task.id: task for task in tasks}, **{queue.name: queue for queue in queues}}
        seen = {**self.world.committed, **self.changes}
        for key in seen.keys() | there.keys():
            if seen.get(key) != there.get(key):
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
        given: dict[str, Any] = {
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
    ) -> list[tuple[int, int, UUID | None]]:
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
