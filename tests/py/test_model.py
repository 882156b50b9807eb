"""All verbs in any order, by sessions whose transactions overlap, beside a model of Underway in memory.

`Machine` draws the steps, does each in the database and in the model (`tests/py/model.py`), and compares the answers
and the tasks. A run that fails is printed with as few steps as it takes, each with its calls.

A new verb is a method of the model, and a step of `Machine`; a new setting is a field in the model, and its column in
`QUEUES` or `TASKS`.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from psycopg.types.json import Jsonb

from tests.py.model import SECOND, START, DeadLetter, Policy, Queue, Refused, Task, Underway, Waits, World
from tests.py.support import FORGOTTEN, Session
from tests.py.test_watermark import HIDDEN

T = TypeVar("T")

LONG = bool(os.environ.get("UNDERWAY_LONG"))

# What the database has of it

SETUP = """
    create sequence public.clock_of_model;

    create or replace function underway._clock() returns timestamptz language sql volatile as $$
        select timestamptz 'epoch'
            + interval '1 microsecond' * pg_sequence_last_value('public.clock_of_model'::regclass)
    $$;

    create or replace function underway._clock_before_xid() returns timestamptz language sql volatile as $$
        select least(nullif(current_setting('model.began_at', true), '')::timestamptz, underway._clock())
    $$;

    create or replace function underway._one_in(calls integer) returns boolean language sql volatile as 'select true';
    """

# Whatever an earlier run has left: faster than a new database.
RESET = """
    delete from underway.task;
    delete from underway.task_history;
    delete from underway.queue;
    delete from underway.queue_priority;
    delete from underway.watermark;
    delete from underway.ready_key;
    delete from underway.token_bucket;
    delete from underway.paused_key;
    delete from underway.unique_reservation;
    delete from underway.batch;
    delete from underway.batch_task;
    delete from underway.batch_to_reevaluate;
    delete from underway.dependent;
    delete from underway.deferred_renewal;
    delete from underway.queue_length;
    delete from underway.uncounted;
    delete from underway.task_stat;
    delete from underway.stat_position;
    delete from underway.queue_depth;
    delete from underway.outgoing_move;
    delete from underway.incoming_move;
    delete from underway.moved_task;
    delete from underway.event;
    delete from underway.blocked_queue;
    delete from underway.upkeep;
    insert into underway.upkeep (last_run_at) values ('-infinity');
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
        coalesce(jsonb_array_length(t.errors), 0),
        t.ready_at, t.started_at, t.lease, t.lease_expires_at,
        (t.retry_policy).max_attempts, (t.retry_policy).initial_interval, t.dead_letter, t.watched, t.progress,
        t.unique_key, t.concurrency_key, t.holds_slot, t.parked, t.in_batch,
        t.input, t.unique_until_start is not null
    from underway.task t
    union all
    select
        h.id, h.queue, h.enqueued_at, h.priority, h.state::text, h.attempt,
        coalesce(jsonb_array_length(h.errors), 0),
        null, h.started_at, null, null,
        (h.retry_policy).max_attempts, (h.retry_policy).initial_interval, h.dead_letter, false, null,
        h.unique_key, h.concurrency_key, false, false, false, h.input, false
    from underway.task_history h
    order by 1"""

QUEUES = """
    select
        q.name, q.dead_letter_queue, (q.retry_policy).max_attempts, (q.retry_policy).initial_interval,
        q.timeout, q.heartbeat, q.keep_history, q.paused_at is not null, q.max_running, q.max_running_per_key,
        q.fair, q.rate_limit, q.rate_limit_per_key, q.rate_period, q.max_length, q.has_keys, q.has_slots
    from underway.queue q
    order by 1"""

PAUSED_KEYS = "select queue, concurrency_key from underway.paused_key order by 1, 2"

HOLDS = "select queue, unique_key, task, expires_at from underway.unique_reservation order by 1, 2"

# The queues whose claim lock a session has: whether alone, and whether it has the limit lock.
CLAIM_LOCKS = """
    select
        name, bool_or(l.key = underway._claim_lock(name) and l.mode = 'ExclusiveLock'),
        bool_or(l.key = underway._limit_lock(name))
    from unnest(%s::text[]) name
    join (
        select held.mode, held.classid::bigint << 32 | held.objid::bigint as key
        from pg_locks held
        where held.locktype = 'advisory'
          and held.granted
          and held.pid = %s
    ) l on l.key in (underway._claim_lock(name), underway._limit_lock(name))
    group by name"""

# Whether a session has an advisory lock alone: what frees a slot waits for a claim that has parked a task of the same
# key, and what puts a task in front of the line waits for a claim that moves the watermark.
HAS_LOCK_ALONE = """
    select count(*) > 0
    from pg_locks l
    where l.locktype = 'advisory'
      and l.granted
      and l.mode = 'ExclusiveLock'
      and l.pid = any (%s)"""

# What has become of batches: failed, final, succeeded.
BECAME = (
    "select id, failed_at is not null, final_at is not null, succeeded_at is not null from underway.batch order by 1"
)

WATERMARK = "select greatest(%s, max(ready_at)) from underway._watermark(%s, %s)"

NEXT_BATCH = "select last_value + is_called::integer from underway.batch_id_seq"

NEXT_ID = "select last_value + is_called::integer from underway.task_id_seq"

# Tasks that wait for what has come, and what no open transaction holds up any more.
FORGOTTEN_DEPENDENTS = """
    select f.task
    from underway.dependent f
    join underway.task t on t.id = f.task and t.state = 'waiting'
    where case f.event
        when 'success' then
            not exists (select from underway.batch_task m where m.batch = f.batch)
            or f.fails_with_batch and exists (
                select from underway.batch_task m where m.batch = f.batch and m.outcome is not null
            )
        when 'final' then not exists (select from underway.batch_task m where m.batch = f.batch and m.outcome is null)
    end"""

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
    where (t.state = 'in_progress') <> ((t.lease, t.lease_expires_at, t.started_at) is not null)
       or t.state not in ('pending', 'in_progress', 'waiting')
    union all
    select 'its errors are an empty array or too many', t.id
    from underway.task t
    where jsonb_array_length(t.errors) not between 1 and 20
    union all
    select 'no claim looks at its priority', t.id
    from underway.task t
    where not exists (select from underway.queue_priority l where (l.queue, l.priority) = (t.queue, t.priority))
    union all
    select 'it is below the watermark', hidden.id from ({HIDDEN}) hidden
    union all
    select 'it holds a slot and should not, or the other way round', t.id
    from underway.task t
    join underway.queue q on q.name = t.queue
    where t.holds_slot and t.state <> 'in_progress'
       or t.state = 'in_progress' and t.holds_slot <> q.has_slots
    union all
    select 'it is parked without a key, or not pending', t.id
    from underway.task t
    where t.parked and (t.state <> 'pending' or t.concurrency_key is null)
    union all
    select 'another has its unique key', max(t.id) from underway.task t where t.unique_key is not null
    group by t.queue, t.unique_key having count(*) > 1"""

# Verbs that wait for nobody.
NEVER_WAIT = {"dequeue", "heartbeat", "enqueue", "enqueue_batch", "watch", "resume_queue"}

COLUMNS = {
    "dequeue": "id, attempt, lease",
    "complete_and_dequeue": "id, attempt, lease",
    "enqueue_unique": "id, created, replaced",
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
        unique_key=value.get("unique_key"),
        concurrency_key=value.get("concurrency_key"),
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
            unique_key=row[16],
            concurrency_key=row[17],
            holds_slot=row[18],
            parked=row[19],
            in_batch=row[20],
            input=row[21],
            unique_until_start=row[22],
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
            max_running=row[8],
            max_running_per_key=row[9],
            fair=row[10],
            rate_limit=row[11],
            rate_limit_per_key=row[12],
            rate_period=row[13],
            max_length=row[14],
            has_keys=row[15],
            has_slots=row[16],
        )
        for row in session.rows(QUEUES)
    ]


def as_parameter(value: Any, *, as_json: bool = False) -> Any:
    """What psycopg takes for it; an array of tasks to enqueue is JSON."""
    if as_json:
        return Jsonb(value)
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
    assert added + missing == [], f"there is {added}, and there should be {missing}"
    assert len(seen) == len(expected)


def became_of(session: Session) -> dict[int, tuple[bool, bool, bool]]:
    """What has become of batches by what was done now."""
    return {number: (failed, final, succeeded) for number, failed, final, succeeded in session.rows(BECAME)}


def watermark_of(session: Session, queue: str, priority: int) -> datetime:
    (ready_at,) = session.column(WATERMARK, START - timedelta(days=100), queue, priority)
    assert isinstance(ready_at, datetime)
    return ready_at


def waiting_of(session: Session) -> set[int]:
    """The tasks that wait for others after what was done now."""
    return set(session.column("select id from underway.task where state = 'waiting'"))


# A task that is made ready a few microseconds from now has the next turn of its key in a fair queue.
FORGOTTEN_NOW = FORGOTTEN.replace("interval '1 second'", "interval '1 millisecond'")

# The steps

NAMES = ["a", "b", "dead"]
LIMITS = ["max_running", "max_running_per_key"]
SESSION = st.integers(0, 2)
PICK = st.integers(0, 99)
PICKS = st.lists(PICK, min_size=1, max_size=4)
COUNT = st.integers(1, 4)
QUEUE = st.sampled_from(["a", "a", "dead", "b"])
QUEUE_OF_LIMITS = st.sampled_from(["b", "b", "b", "b", "a", "dead"])
RATE = st.sampled_from([None, 0, 0, 1, 2, 3])
PERIOD = st.sampled_from([SECOND, 10 * SECOND, 40 * SECOND])  # of which tokens come at whole milliseconds
PRIORITY = st.sampled_from([0, 0, 0, 5, -1])
DELAY = st.sampled_from([0 * SECOND, SECOND, 40 * SECOND])
POLICY = st.sampled_from([Policy(2, 0 * SECOND), Policy(2, SECOND), Policy(1, SECOND), Policy(3, 10 * SECOND)])
WHEN = st.sampled_from([None, None, None, None, SECOND, 40 * SECOND, -timedelta(days=1)])
PASSING = st.sampled_from([SECOND / 1000, SECOND, 3 * SECOND, 31 * SECOND, 3600 * SECOND])
# Mostly in one queue, for the others to be without limits for a while.
WHERE = st.sampled_from(
    [("a", None)] * 4 + [("b", None), ("b", "k"), ("b", "k"), ("b", "k"), ("b", "l")] + [("dead", None), ("a", "k")]
)
KEY = st.sampled_from([("b", "k"), ("b", "k"), ("b", "l"), ("a", "k")])
UNIQUE_KEYS = st.lists(st.sampled_from(["u", "u", "v"]), min_size=1, max_size=2)
ON_CONFLICT = st.sampled_from(["return", "error", "replace", "replace"])
SETTING = st.one_of(
    st.tuples(st.just("max_running"), st.sampled_from([0, 1, 2, 3])),
    st.tuples(st.just("max_running"), st.sampled_from([0, 1, 2, 3])),
    st.tuples(st.just("max_running_per_key"), st.sampled_from([1, 2])),
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


def steps(weights: dict[str, int]) -> st.SearchStrategy[Step]:
    return st.sampled_from([name for name, weight in weights.items() for _ in range(weight)]).flatmap(
        lambda name: DRAWN[name][1]
    )


# One rule for all: of many, Hypothesis leaves half out in each run, and where nobody claims there is little to see.
STEP = st.deferred(lambda: steps({name: weight for name, (weight, _) in DRAWN.items()}))

# Much is claimed, and mostly nobody else has a transaction open.
OF_LIMITS = {
    30: "dequeue_under_limits",
    20: "enqueue_under_limits",
    16: "time_passes",
    12: "complete_many",
    8: "time_goes_back",
    6: "maintain limit_length try_all_claims",
    4: "make_fair begin commit limit_rate fail enqueue_unique dequeue_of_several complete_and_dequeue release_many "
    "pause_key resume_key reschedule",
    2: "raise_floors enqueue enqueue_after snooze cancel reprioritize redrive",
    1: "rollback savepoint rollback_to limit_running enqueue_batch heartbeat retry",
}
STEP_OF_LIMITS = steps({name: weight for weight, names in OF_LIMITS.items() for name in names.split()})


class Machine(RuleBasedStateMachine):
    """Draws the steps. `sessions` do them, `observer` looks at what is committed."""

    exact = True  # or the model takes over what the database says, and only the invariants are looked at

    def __init__(self, sessions: list[Session], observer: Session) -> None:
        super().__init__()
        self.sessions, self.observer = sessions, observer
        self.world = World(exact=self.exact)
        self.world.sessions = [Underway(self.world, number) for number in range(len(sessions))]
        self.looker = Underway(self.world, 0)
        for session, model in zip(sessions, self.world.sessions, strict=True):
            model.ask_claim_locks = lambda session=session: {  # type: ignore[misc]
                name: (alone, limited) for name, alone, limited in self.observer.rows(CLAIM_LOCKS, NAMES, session.pid)
            }
            model.ask_watermark = lambda *lane, session=session: watermark_of(session, *lane)  # type: ignore[misc]
            model.ask_waiting = lambda session=session: waiting_of(session)  # type: ignore[misc]
            model.ask_became = lambda session=session: became_of(session)  # type: ignore[misc]
        self.looker.ask_watermark = lambda *lane: watermark_of(observer, *lane)
        self.grants: list[tuple[int, UUID]] = []
        self.most_attempts: dict[str, int] = {}
        self.may_go: set[int] = set()
        self.limits: list[tuple[str, Queue]] = []  # that may have counted since the last look
        self.running: Counter[tuple[str, str | None]] = Counter()
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
        """Call a verb in a session and in its model, and compare. A verb that would wait for others is left out."""
        model, session = self.world.sessions[number], self.sessions[number]
        arguments = {name: value for name, value in arguments.items() if value is not None}
        if self.would_wait(model, verb, arguments):
            return
        self.sound = False
        self.note_overlap(model)
        given = self.call(session, model, verb, arguments)
        if given is None:
            self.count_up()
            self.sound = True
            return
        if verb == "create_queue":
            self.unsettle(model, arguments["name"], not {"fair", "rate_limit_per_key"}.isdisjoint(arguments))
        model.given = given if isinstance(given, list) else []
        before = dict(model.changes)
        expected: Any
        try:
            expected = getattr(model, verb)(**arguments)
        except Refused as refusal:
            model.changes = before
            expected = refusal
        if self.exact:
            self.compare_answers(given, expected)
        if verb in ("dequeue", "complete_and_dequeue"):
            self.remember_grants(model.given)
        if verb == "delete_task":
            self.may_go.add(arguments["task"])
        if verb == "create_queue" and "retry_policy" in arguments:
            most = max(self.most_attempts.get(arguments["name"], 0), arguments["retry_policy"].max_attempts)
            self.most_attempts[arguments["name"]] = most
        if verb == "create_queue":
            given_limits = Queue(name="", **{name: arguments[name] for name in LIMITS if name in arguments})
            self.limits.append((arguments["name"], given_limits))
        if model.open:
            self.compare(session, model)
            self.count_up()
            self.sound = True
        else:
            model.commit()
            self.look()

    def note_overlap(self, model: Underway) -> None:
        """While a transaction has locked tasks of a key, others may miss them."""
        for other in model.others:
            for id, value in other.changes.items():
                for task in (value, self.world.committed.get(id)):
                    if isinstance(task, Task):
                        self.world.unsettled.add((task.queue, task.concurrency_key))

    def unsettle(self, model: Underway, name: str, changed: bool) -> None:
        """After a change of its settings `maintain` may have to look at the keys again, for their turns or tokens."""
        queue = model.queue(name)
        if queue is not None and (changed or queue.rate_limit_per_key):
            tasks = [task for task in model.tasks() if task.queue == name]
            self.world.unsettled.update((name, task.concurrency_key) for task in tasks)

    def would_wait(self, model: Underway, verb: str, arguments: dict[str, Any]) -> bool:
        """Whether the verb would wait for a row or for a claim."""
        before, next_id, next_batch = dict(model.changes), self.world.next_id, self.world.next_batch
        asked = model.ask_became, model.ask_waiting
        model.given, model.ask_became, model.ask_waiting = None, dict, set
        try:
            getattr(model, verb)(**arguments)
        except Waits:
            return True
        except Refused:
            pass
        finally:
            model.ask_became, model.ask_waiting = asked
            model.changes = before
            self.world.moved.clear()
            self.world.next_id, self.world.next_batch = next_id, next_batch
        return False

    def call(
        self, session: Session, model: Underway, verb: str, arguments: dict[str, Any]
    ) -> list[Any] | Refused | None:
        """The answer of the database; None where the verb has waited for an advisory lock of an open transaction."""
        named = ", ".join(f"{name} => %s" for name in arguments)
        shown = ", ".join(f"{name} => {value}" for name, value in arguments.items())
        given: list[Any] | Refused
        try:
            with session.connection.transaction() if model.open else contextlib.nullcontext():
                rows = session.rows(
                    f"select {COLUMNS.get(verb, '*')} from underway.{verb}({named})",
                    *(
                        as_parameter(value, as_json=name == "tasks" and verb.startswith(("enqueue", "extend")))
                        for name, value in arguments.items()
                    ),
                )
                given = [row[0] if len(row) == 1 else row for row in rows]
        except psycopg.errors.LockNotAvailable:
            note(f"-- {model.name}: {verb}({shown}) waits")
            others = [other.pid for other, its in zip(self.sessions, self.world.sessions, strict=True) if its.open]
            assert verb not in NEVER_WAIT, f"{verb} waits"
            assert self.observer.value(HAS_LOCK_ALONE, [pid for pid in others if pid != session.pid])
            return None
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
            assert sorted(given) == sorted(expected), "the answer, and what it should be, in any order"
        elif expected is not None:
            assert given == expected, "the answer, and what it should be"

    def remember_grants(self, rows: list[Any]) -> None:
        leases = {lease for _, _, lease in rows if lease is not None}
        assert len(leases) <= 1
        assert not leases & {lease for _, lease in self.grants}, "a lease is never given twice"
        self.grants += [(id, lease) for id, _, lease in rows if lease is not None]

    def look(self) -> None:
        """Compare what is committed, and see that nothing is as it must never be."""
        self.count_up()
        seen = self.compare(self.observer, self.looker)
        assert self.observer.rows(INVARIANTS, Jsonb(self.most_attempts)) == []
        if not any(model.open for model in self.world.sessions):
            self.world.unsettled &= {(task.queue, task.concurrency_key) for task in seen if task.state == "pending"}
            if self.exact:
                forgotten = set(self.observer.rows(FORGOTTEN_NOW)) - self.world.unsettled
                assert not forgotten, f"of {forgotten} no task is ready, and there is room"
        self.see_nothing_lost(seen)
        self.see_limits_kept(seen)
        self.seen = seen
        self.sound = True

    def count_up(self) -> None:
        """Ids that are gone are gone, whatever was rolled back."""
        self.world.next_id = self.observer.value(NEXT_ID)
        self.world.next_batch = self.observer.value(NEXT_BATCH)

    def compare(self, session: Session, model: Underway) -> list[Task]:
        """Compare what a session sees; returns its tasks."""
        tasks, queues = tasks_of(session), queues_of(session)
        model.take_over(tasks, queues)
        if self.exact:
            same(tasks, model.tasks())
            same(queues, model.queues())
            same(session.rows(PAUSED_KEYS), model.paused_keys())
            same(session.rows(HOLDS), [(*key, hold.task, hold.expires_at) for key, hold in model.holds().items()])
            batches = sorted(model.batches().items())
            same(session.rows(BECAME), [(number, *batch.became) for number, batch in batches])
        else:
            model.adopt(tasks, queues)
        return tasks

    def see_nothing_lost(self, seen: list[Task]) -> None:
        """What was there is there, and what was final is as it was, but for what was asked for."""
        now = {task.id: task for task in seen}
        for task in self.seen:
            after = now.get(task.id)
            if after is None:
                # Deleted, or a dead letter that went back.
                assert task.id in self.may_go or (task.live and task.dead_letter), f"{task} is lost"
            elif not task.live and after != task:
                assert task.state != "succeeded", f"{task} was final"
                assert after.live or after.state in ("failed", "cancelled", "succeeded")

    def see_limits_kept(self, seen: list[Task]) -> None:
        """No more runs than a limit allows or allowed just now, unless it ran before the limit."""
        before, self.running = self.running, Counter()
        for task in seen:
            if task.state == "in_progress":
                self.running.update({(task.queue, key) for key in (None, task.concurrency_key)})
        queues = [(queue.name, queue) for queue in self.looker.queues()]
        for (name, key), count in self.running.items():
            known = [queue for other, queue in self.limits + queues if other == name]
            most = [queue.max_running_per_key if key else queue.max_running or count for queue in known]
            assert count <= max([*most, before[name, key]]), f"of {name}, {key} there run {count}"
        # What an open transaction does under a limit of its own is seen later.
        kept = self.limits if any(model.open for model in self.world.sessions) else []
        self.limits = kept + queues

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
        model = self.world.sessions[session]
        if not self.held_grants(session) and picks[0] % 5:
            self.do(session, "dequeue", queues=[queue.name for queue in model.queues()])
        held = self.held_grants(session)
        lost = [(id, lease) for id, lease in self.grants if not model.held(id, lease) and not model.taken(id)]
        # The one that tells most is of a task that is held again.
        again = [(id, lease) for id, lease in lost if any(id == other for other, _ in held)]
        some = again or (lost if picks[0] % 5 == 0 else [])
        drawn = [self.pick(held * 2 + some[-1:], pick) for pick in picks]
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

    @drawn(1, back=st.sampled_from([SECOND, 60 * SECOND, 3600 * SECOND]))
    def time_goes_back(self, back: timedelta) -> None:
        if not self.exact:
            self.time_passes(-back)

    @drawn(5, session=SESSION)
    def maintain(self, session: int) -> None:
        self.do(session, "_run_chores")

    @drawn(3, pick=PICK)
    def raise_floors(self, pick: int) -> None:
        """What claims do now and then, by chance; more often than it takes until what is noted counts."""
        number = self.pick([n for n, model in enumerate(self.world.sessions) if not model.open], pick)
        if number is None:
            return
        for _ in range(3):
            self.time_passes(SECOND / 1000)
            note(f"-- {self.world.sessions[number].name}: raise all floors")
            self.sessions[number].run(
                "select underway._advance_watermark(l.queue, l.priority) from underway.queue_priority l"
            )
        self.look()

    # Queues

    @initialize()
    def set_up(self) -> None:
        self.do(0, "create_queue", name="dead", retry_policy=Policy(2, SECOND))
        self.do(0, "create_queue", name="a", dead_letter_queue="dead", retry_policy=Policy(2, 0 * SECOND))
        self.do(0, "create_queue", name="b", retry_policy=Policy(2, SECOND), timeout=30 * SECOND)
        self.do(0, "enqueue_unique", queue="a", inputs=[{}], unique_keys=["u"])
        self.do(0, "enqueue_many", queue="a", inputs=[{}, {}])
        self.do(0, "enqueue", queue="b", input={})
        self.do(0, "enqueue_many", queue="b", inputs=[{}, {}], concurrency_key="k")

    @drawn(4, session=SESSION, name=QUEUE, setting=SETTING)
    def create_queue(self, session: int, name: str, setting: tuple[str, Any], *more: tuple[str, Any]) -> None:
        given: dict[str, Any] = dict((setting, *more))
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

    @drawn(2, session=SESSION, where=KEY)
    def pause_key(self, session: int, where: tuple[str, str]) -> None:
        self.do(session, "pause_key", queue=where[0], concurrency_key=where[1])

    @drawn(3, session=SESSION, pick=PICK)
    def resume_key(self, session: int, pick: int) -> None:
        queue, key = self.pick(self.world.sessions[session].paused_keys(), pick) or ("b", "k")
        self.do(session, "resume_key", queue=queue, concurrency_key=key)

    @drawn(3, session=SESSION, pick=PICK, limit=st.sampled_from([1, 1, 2, 0]))
    def limit_running(self, session: int, pick: int, limit: int) -> None:
        """Mostly where something runs that is not counted yet."""
        tasks = [task for task in self.world.sessions[session].tasks() if task.state == "in_progress"]
        queues = sorted({task.queue for task in tasks if not task.holds_slot} or {"a", "b"})
        self.create_queue(session, self.pick(queues, pick) or "a", ("max_running", limit))

    @drawn(3, session=SESSION, name=QUEUE_OF_LIMITS, fair=st.booleans(), per_key=st.integers(1, 3))
    def make_fair(self, session: int, name: str, fair: bool, per_key: int) -> None:
        self.create_queue(session, name, ("fair", fair), ("max_running_per_key", per_key))

    @drawn(3, session=SESSION, name=QUEUE_OF_LIMITS, limit=RATE, per_key=RATE, period=st.none() | PERIOD)
    def limit_rate(
        self, session: int, name: str, limit: int | None, per_key: int | None, period: timedelta | None
    ) -> None:
        self.create_queue(
            session, name, ("rate_limit", limit), ("rate_limit_per_key", per_key), ("rate_period", period)
        )

    @drawn(2, session=SESSION, name=QUEUE_OF_LIMITS, more=st.sampled_from([None, 0, 1, 2, 4]))
    def limit_length(self, session: int, name: str, more: int | None) -> None:
        """Mostly to somewhat more than there is."""
        tasks = [task for task in self.world.sessions[session].tasks() if task.queue == name]
        waiting = sum(task.state == "pending" for task in tasks)
        self.create_queue(session, name, ("max_length", 0 if more is None else waiting + more))

    # Into the queue

    def when(self, when: timedelta | None) -> dict[str, Any]:
        if when is None:
            return {}
        return {"delay": when} if when == SECOND else {"run_at": self.world.now + when}

    @drawn(4, session=SESSION, where=WHERE, priority=PRIORITY, when=WHEN, policy=st.none() | POLICY)
    def enqueue(
        self,
        session: int,
        where: tuple[str, str | None],
        priority: int,
        when: timedelta | None,
        policy: Policy | None,
    ) -> None:
        options = {"priority": priority, "retry_policy": policy, "concurrency_key": where[1], **self.when(when)}
        self.do(session, "enqueue", queue=where[0], input={}, **options)

    @drawn(3, session=SESSION, where=WHERE, count=COUNT, priority=PRIORITY, when=WHEN)
    def enqueue_many(
        self, session: int, where: tuple[str, str | None], count: int, priority: int, when: timedelta | None
    ) -> None:
        options = {"priority": priority, "concurrency_key": where[1], **self.when(when)}
        self.do(session, "enqueue_many", queue=where[0], inputs=[{}] * count, **options)

    @drawn(
        1,
        session=SESSION,
        name=QUEUE_OF_LIMITS,
        keys=st.lists(st.sampled_from([None, "k", "k", "l", "m"]), min_size=1, max_size=4),
    )
    def enqueue_under_limits(self, session: int, name: str, keys: list[str | None]) -> None:
        """With keys in one queue, for the others to be without limits for a while."""
        tasks = [{"queue": name, "input": {}, "concurrency_key": key if name == "b" else None} for key in keys]
        self.do(session, "enqueue_many", tasks=tasks)

    @drawn(1, session=SESSION, places=st.lists(WHERE, min_size=1, max_size=3), priority=PRIORITY)
    def enqueue_objects(self, session: int, places: list[tuple[str, str | None]], priority: int) -> None:
        tasks = [{"queue": queue, "input": {}, "priority": priority, "concurrency_key": key} for queue, key in places]
        self.do(session, "enqueue_many", tasks=tasks)

    @drawn(
        8,
        session=SESSION,
        where=WHERE,
        keys=UNIQUE_KEYS,
        pick=PICK,
        on_conflict=ON_CONFLICT,
        lasting=st.sampled_from([{}, {"unique_for": SECOND}, {"unique_for": 40 * SECOND}, {"unique_until": "start"}]),
        priority=PRIORITY,
        when=WHEN,
    )
    def enqueue_unique(
        self,
        session: int,
        where: tuple[str, str | None],
        keys: list[str],
        pick: int,
        on_conflict: str,
        lasting: dict[str, Any],
        priority: int,
        when: timedelta | None,
    ) -> None:
        """Mostly with the key of one that runs or has run. Without a policy: a replacement may have fewer attempts."""
        queue, key = where
        begun = [task for task in self.world.sessions[session].tasks() if task.unique_key and task.state != "pending"]
        begun += [task for task in begun if task.live] * 2
        if pick % 3 and (met := self.pick(begun, pick)) is not None and met.unique_key is not None:
            queue, keys = met.queue, [*keys[1:], met.unique_key]
        unique: dict[str, Any] = {
            "unique_keys": keys,
            "on_conflict": on_conflict,
            "concurrency_key": key,
            **lasting,
        }
        inputs = [{"number": self.world.next_id + place} for place in range(len(keys))]
        self.do(session, "enqueue_unique", queue=queue, inputs=inputs, **unique, priority=priority, **self.when(when))

    @drawn(
        6,
        session=SESSION,
        where=WHERE,
        count=st.integers(1, 2),
        picks=st.lists(PICK, min_size=1, max_size=3),
        after_failure=st.sampled_from(["wait", "fail", "run"]),
        when=WHEN,
    )
    def enqueue_after(
        self,
        session: int,
        where: tuple[str, str | None],
        count: int,
        picks: list[int],
        after_failure: str,
        when: timedelta | None,
    ) -> None:
        """After some tasks, most of them live; where the clock goes back, the model does not know the batches."""
        if not self.exact:
            return
        after = [self.some_task(session, pick, "pending", "in_progress", "waiting") for pick in picks]
        options = {"concurrency_key": where[1], "after": after, "after_failure": after_failure, **self.when(when)}
        self.do(session, "enqueue_many", queue=where[0], inputs=[{}] * count, **options)

    @drawn(
        3,
        session=SESSION,
        count=st.integers(0, 3),
        places=st.lists(WHERE, min_size=1, max_size=2),
        events=st.sets(st.sampled_from(["on_success", "on_final", "on_failure"])),
    )
    def enqueue_batch(self, session: int, count: int, places: list[tuple[str, str | None]], events: set[str]) -> None:
        if not self.exact:
            return
        tasks = [{"queue": queue, "input": {}, "concurrency_key": key} for queue, key in (places * count)[:count]]
        callbacks = {event: {"queue": "b", "input": {}} for event in sorted(events)}
        self.do(session, "enqueue_batch", tasks=tasks, **callbacks)

    @drawn(2, session=SESSION, pick=PICK, where=WHERE)
    def extend_batch(self, session: int, pick: int, where: tuple[str, str | None]) -> None:
        if (batch := self.some_batch(session, pick)) is not None:
            self.do(session, "extend_batch", batch=batch, tasks=[{"queue": where[0], "input": {}}])

    @drawn(1, session=SESSION, pick=PICK)
    def cancel_batch(self, session: int, pick: int) -> None:
        if (batch := self.some_batch(session, pick)) is not None:
            self.do(session, "cancel_batch", batch=batch)

    def some_batch(self, session: int, pick: int) -> int | None:
        """A batch, most likely one that somebody has asked for and that is not final; or one that is none."""
        batches = self.world.sessions[session].batches()
        explicit = [number for number, batch in batches.items() if not batch.implicit]
        live = [number for number in explicit if not batches[number].became[1]]
        return self.pick(live * 3 + explicit + [*batches][-1:], pick)

    # Claims

    def some_queue(self, session: int, pick: int) -> str:
        """A queue, most likely one that has something."""
        model = self.world.sessions[session]
        having = sorted({task.queue for task in model.tasks() if model.is_ready(task)})
        return (NAMES + having * 5)[pick % len(NAMES + having * 5)]

    @drawn(10, session=SESSION, pick=PICK, count=COUNT)
    def dequeue(self, session: int, pick: int, count: int) -> None:
        self.do(session, "dequeue", queue=self.some_queue(session, pick), max_tasks=count)

    @drawn(1, session=SESSION, name=QUEUE_OF_LIMITS, count=COUNT)
    def dequeue_under_limits(self, session: int, name: str, count: int) -> None:
        self.do(session, "dequeue", queue=name, max_tasks=count)

    @drawn(4, session=SESSION, queues=st.permutations(NAMES), number=st.integers(1, 3), count=COUNT)
    def dequeue_of_several(self, session: int, queues: list[str], number: int, count: int) -> None:
        self.do(session, "dequeue", queues=queues[:number], max_tasks=count)

    @drawn(1)
    def try_all_claims(self) -> None:
        """Claims that are rolled back, where nobody keeps them from any queue."""
        if any(model.open for model in self.world.sessions):
            return
        self.sound = False
        self.looker.begin()
        with self.observer.connection.transaction(force_rollback=True):
            self.see_limits_used()
        self.looker.rollback()
        self.sound = True

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

    @drawn(3, session=SESSION, picks=PICKS)
    def heartbeat(self, session: int, picks: list[int]) -> None:
        self.settle_many(session, picks, "heartbeat")

    @drawn(1, session=SESSION, pick=PICK)
    def report_progress(self, session: int, pick: int) -> None:
        self.settle(session, pick, "report_progress", progress={"percent": 40})

    @drawn(5, session=SESSION, pick=PICK)
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
        self.do(session, "cancel", task=self.some_task(session, pick, "pending", "in_progress", "waiting"))

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
        for session, model in zip(self.sessions, self.world.sessions, strict=True):
            model.rollback()
            if session.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                session.run("rollback")
        if self.sound:
            self.see_that_all_comes()

    def see_that_all_comes(self) -> None:
        """Each pending task is claimed in the end, once, and what waits waits for something."""
        self.observer.run("select underway._run_chores()")
        assert self.observer.column(FORGOTTEN_DEPENDENTS) == []
        pending = {task.id for task in tasks_of(self.observer) if task.state == "pending"}
        used = []
        for rest in (0 * SECOND, 60 * SECOND, timedelta(days=365)):
            self.set_clock(self.world.now + rest)
            used += self.see_limits_used()
        self.observer.run("select underway.resume_queue(name) from underway.queue")
        for queue, key in self.looker.paused_keys():
            self.observer.run("select underway.resume_key(%s, %s)", queue, key)
            self.looker.resume_key(queue, key)
        self.observer.run(
            "select underway.create_queue(name, max_running => 0, max_running_per_key => 1000, rate_limit => 0,"
            " rate_limit_per_key => 0) from underway.queue"
        )
        used += self.see_limits_used()
        assert len(used) == len(pending)
        assert set(used) == pending

    def see_limits_used(self) -> list[int]:
        """As many tasks are claimed as limits allow. Returns them.

        In a fair queue a claim may only line up the next tasks, which the claim after it takes.
        """
        claimed: list[int] = []
        self.observer.run("select underway._repair_parked('', '', 1000)")
        for queue in queues_of(self.observer):
            most, empty = 0, 0
            while empty < 2 and not queue.paused:
                self.set_clock(self.world.now + SECOND / 1000)
                self.looker.adopt(tasks_of(self.observer), queues_of(self.observer))
                ready = [t for t in self.looker.tasks() if t.queue == queue.name and self.looker.is_ready(t)]
                due = Counter(task.concurrency_key for task in ready)
                most = sum(min(count, self.looker.key_room(queue, key)) for key, count in due.items())
                most = min(most, self.looker.queue_room(queue))
                rows = self.observer.rows("select id, attempt, lease from underway.dequeue(%s, 1000)", queue.name)
                self.looker.given = rows
                self.looker.dequeue(queue=queue.name, max_tasks=1000)
                claimed += [id for id, _, _ in rows]
                empty = 0 if rows else empty + 1
            assert most <= 0 or not self.exact, f"of {queue} {most} tasks could start"
        return claimed


class MachineWhoseClockGoesBack(Machine):
    """What no clock may do harm to; what comes when is another matter."""

    exact = False


class MachineOfLimits(Machine):
    """Many claims from a queue that has all sorts of limits."""

    @initialize(
        fair=st.booleans(),
        per_key=st.integers(1, 3),
        rates=st.sampled_from([(0, 0), (0, 1), (0, 3), (2, 0), (3, 1)]),
        period=PERIOD,
    )
    def set_up(self, fair: bool, per_key: int, rates: tuple[int, int], period: timedelta) -> None:
        super().set_up()
        for name in NAMES:
            self.create_queue(0, name, ("fair", fair), ("max_running_per_key", per_key))
        self.create_queue(0, "b", ("dead_letter_queue", "dead"))
        self.limit_rate(0, "b", *rates, period)
        self.world.unsettled.clear()

    @rule(step=STEP_OF_LIMITS)
    def step(self, step: Step) -> None:
        super().step(step)


class MachineOfLimitsWhoseClockGoesBack(MachineOfLimits):
    exact = False


@pytest.fixture
def connected(database: str) -> Iterator[tuple[list[Session], Session]]:
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(Session(database, impatient=True)) for _ in range(4)]
        for session in sessions:
            session.run("set timezone = 'UTC'")
            session.run("set statement_timeout = '10s'")
        sessions[3].connection.execute(SETUP)
        yield sessions[:3], sessions[3]


# The machines, and the seeds of their runs. Each run is a test of its own, so that several processes share them.
MACHINES: dict[type[Machine], tuple[int, ...]] = {
    Machine: (0, 1, 2, 3, 4),
    MachineOfLimits: (0, 1, 2),
    MachineWhoseClockGoesBack: (0,),
    MachineOfLimitsWhoseClockGoesBack: (0,),
}
# More than two seeds of a machine, or one of those with limits, are repetitions.
RUNS = [
    pytest.param(machine, number, marks=[pytest.mark.thorough] if number > (machine is Machine) else [])
    for machine, numbers in MACHINES.items()
    for number in numbers
]
# The first example of a run is the shortest there is.
EXAMPLES = 101 if LONG else 11


@pytest.mark.parametrize(("machine", "number"), RUNS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_verbs_in_any_order_leave_what_the_model_says(
    connected: tuple[list[Session], Session],
    monkeypatch: pytest.MonkeyPatch,
    machine: type[Machine],
    number: int,
) -> None:
    # A failure is made smaller for so many seconds.
    monkeypatch.setattr("hypothesis.internal.conjecture.engine.MAX_SHRINKING_SECONDS", 300 if LONG else 60)

    def made() -> Machine:
        return machine(*connected)

    run_state_machine_as_test(
        made if LONG else seed(number)(made),  # type: ignore[arg-type]  # it is only called
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=60,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
