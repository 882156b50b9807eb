"""Plans of the hot statements: what a call reads does not grow with the backlog, whatever the statistics say.

Nothing is explained here. What a call really read is taken from the counters of its own transaction.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.py.support import Session, listed
from tests.servers import Server

# Planners differ: the oldest and the newest that are found have to do.
pytestmark = pytest.mark.every_server

# Tasks in a batch, and the entries of indexes or rows that a call may read for each of them. There are many thousand.
BATCH = 50
PER_TASK = 12

# Expired tasks that a claim cancels at most.
AT_ONCE = 1000

# Leases of a queue outlast the test, so that reclaim finds those that it let lapse, and no others.
NO_LAPSE = "heartbeat => '1 hour'"

# Keys that tasks wait for; each call that frees some takes the next.
KEYS = 2000
FREE_NEXT_KEYS = (
    "select underway._release_slots(array_fill('keyed'::text, array[%s]),"
    " array(select 'p' || nextval('public.next_key') from generate_series(1, %s)))"
)

# A batch of many thousand tasks, and an array of objects that adds some.
BATCH_ID = 1_000_000
OBJECTS = "(select jsonb_agg(jsonb_build_object('queue', 'batched', 'input', n)) from generate_series(1, %s) n)"
SETTLE = (
    "select count(*) from (select coalesce(array_agg(id), '{}') as ids, coalesce(array_agg(lease), '{}') as leases"
    " from underway.dequeue('batched', %s)) claimed, lateral "
)

STATES = [
    "never analysed",
    "analysed when empty",
    "analysed when drained",
    "planned when empty",
    "planned when drained",
]
# The first plans that auto makes are custom ones.
MODES = ["auto", "force_generic_plan"]

COUNTERS = """
    select
        coalesce(sum(pg_stat_get_xact_numscans(c.oid)) filter (where c.relkind = 'r'), 0)::int,
        coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::int
    from pg_class c
    where c.relnamespace = 'underway'::regnamespace
      and c.relkind in ('r', 'i')
      and c.relname ~ '^(task|ready_key|paused_key|token_bucket|batch|dependent)'
      and c.relname <> 'batch_to_reevaluate' -- a list of what is to be done, which is read from end to end"""


@dataclass(frozen=True)
class Cost:
    """What a call did: how often it read a table from end to end, and how many rows and entries it read."""

    whole_tables: int
    read: int


class Bench:
    """A database in which the counters of calls are read; `warm` are sessions that planned when all was empty."""

    def __init__(self, dsn: str, session: Session, warm: dict[str, Session]) -> None:
        self.dsn = dsn
        self.session = session
        self.warm = warm


def keep_statistics_away(session: Session) -> None:
    for table in session.column(
        "select oid::regclass::text from pg_class where relnamespace = 'underway'::regnamespace and relkind = 'r'"
    ):
        session.run(f"alter table {table} set (autovacuum_enabled = false)")


def fill(session: Session, each: int) -> None:
    """So many tasks that are ready, as many of tomorrow, of another priority and of another queue; a past beside."""
    session.enqueue("q", each, "delay => '1 day'")
    session.enqueue("q", each, "priority => -1")
    session.enqueue("other", each // 2)
    past = session.enqueue("past", each // 5)
    session.run(
        "insert into underway.unique_reservation (queue, unique_key, task, expires_at)"
        " select 'past', 'past ' || n, id, now() + interval '1 day' from unnest(%s) with ordinality as past (id, n)",
        past,
    )
    lease = session.claim("past", 10_000)[0][1]
    session.run("select from underway.complete_many(%s, array_fill(%s::uuid, array[%s]))", past, lease, len(past))
    session.enqueue("held", each // 5)
    session.claim("held", 10_000)
    park(session, each)
    fill_batches(session, each)
    session.enqueue("limited", each // 5)
    for queue in ("expired", "limited expired"):
        session.enqueue(queue, each, "expires_at => now(), job => 'brief'")
        session.enqueue(queue, each // 5, "expires => '1 day', job => 'brief'")
    line_up(session, each)
    session.enqueue("q", each)


def park(session: Session, each: int) -> None:
    """So many tasks that wait for one key, half as many for two thousand others; and some that may run."""
    session.run(
        "insert into underway.task (queue, priority, ready_at, enqueued_at, input, parked, concurrency_key)"
        " select 'keyed', 0, now(), now(), '{}', n <= %s, case"
        " when n <= %s then 'hot' when n <= %s then 'p' || n %% %s + 1 else 'r' || n end"
        " from generate_series(1, %s) n",
        *(each + each // 2, each, each + each // 2, KEYS, each + each // 2 + KEYS),
    )
    session.run("update underway.queue set has_keys = true where name = 'keyed'")


def line_up(session: Session, each: int) -> None:
    """In fair queues so many tasks of one key, as many without one, and some for each of two thousand others."""
    for options in ("concurrency_key => 'hot'", "priority => 0"):
        session.enqueue("fair", each, options)
        session.enqueue("once fair", each // 5, options)
    session.run(
        "select count(underway.enqueue_many('fair', array_fill('1'::jsonb, array[%s]), concurrency_key => 'k' || n))"
        " from generate_series(1, %s) n",
        each // KEYS,
        KEYS,
    )
    session.create_queue("once fair", "fair => false")


def begin_batch(session: Session) -> None:
    """A batch whose last task never ends."""
    session.run(
        "insert into underway.batch (id, created_at, retention, implicit, failed_at)"
        " values (%s, now(), '1 day', false, now())",
        BATCH_ID,
    )
    session.run("insert into underway.batch_task values (%s, %s)", 2**62, BATCH_ID)


def fill_batches(session: Session, each: int) -> None:
    """So many tasks of that batch, of which some have failed; and many small ones whose time is over."""
    session.run(
        "with made as (insert into underway.task (queue, priority, ready_at, enqueued_at, input, in_batch)"
        " select 'batched', 0, now(), now(), '{}', true from generate_series(1, %s) n returning id)"
        " insert into underway.batch_task select id, %s from made",
        each,
        BATCH_ID,
    )
    session.run(
        "insert into underway.batch_task select -n, %s, 'failed' from generate_series(1, %s) n", BATCH_ID, each // 5
    )
    session.run(
        "with past as (insert into underway.batch (id, created_at, retention, tasks, implicit, expires_at)"
        " select %s - n, now(), '0', 1, true, now() from generate_series(1, %s) n returning id)"
        " insert into underway.dependent select -id, id, 'success' from past",
        BATCH_ID,
        each // 2,
    )


@contextlib.contextmanager
def filled(server: Server, state: str, each: int) -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        dsn = stack.enter_context(server.database())
        session = stack.enter_context(Session(dsn))
        keep_statistics_away(session)
        session.run("set synchronous_commit = off; set jit = off")
        for queue in ("other", "past", "held", "keyed", "batched", "expired"):
            session.create_queue(queue, NO_LAPSE)
        session.create_queue("limited", f"{NO_LAPSE}, max_running => 50, rate_limit => 1000000")
        session.create_queue("limited expired", f"{NO_LAPSE}, max_running => 1000000")
        # Attempts, retention and defaults of jobs are looked up.
        session.run(
            "select underway.register_job('brief', 'other', timeout => '1 hour', retention => '1 day', priority => 3)"
        )
        for queue in ("fair", "once fair"):
            session.create_queue(queue, f"{NO_LAPSE}, fair => true")
        session.run("create sequence public.next_key")
        session.create_queue("q", f"{NO_LAPSE}, retry_policy => underway.retry_policy(initial_interval => '1 hour')")
        begin_batch(session)
        warm = {}
        if state.endswith("drained"):
            # The pages are there and nothing is in them: what is estimated is a single row.
            session.enqueue("q", 5000)
            session.run("delete from underway.task")
            session.run("vacuum (analyze, truncate false)")
        if state == "analysed when empty":
            session.run("analyze")
        elif state.startswith("planned"):
            for mode in MODES:
                warm[mode] = stack.enter_context(Session(dsn))
                warm[mode].run(f"set plan_cache_mode = '{mode}'")
                for _, call in itertools.product(range(7), CALLS.values()):
                    call(warm[mode], [1], ["00000000-0000-0000-0000-000000000000"], 1)
        fill(session, each)
        yield Bench(dsn, session, warm)


# Each call: the session, the tasks and their leases, and how many tasks to claim.
Call = Callable[[Session, list[int], list[str], int], None]

CALLS: dict[str, Call] = {
    "enqueue": lambda s, tasks, leases, n: s.run("select underway.enqueue('q')"),
    "enqueue_many": lambda s, tasks, leases, n: s.run(
        "select underway.enqueue_many('q', array_fill('1'::jsonb, array[%s]), priority => 7)", n
    ),
    "enqueue of a job": lambda s, tasks, leases, n: s.run(
        "select underway.enqueue_many(null, array_fill('1'::jsonb, array[%s]), job => 'brief')", n
    ),
    "enqueue with a unique key": lambda s, tasks, leases, n: s.run(
        "select underway.enqueue('q', unique_key => 'one', on_conflict => 'replace', concurrency_key => 'c')"
    ),
    "enqueue_unique": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.enqueue_unique('q', array_fill('1'::jsonb, array[%s]),"
        " array(select 'key ' || n from generate_series(1, %s) n), unique_for => '1 hour')",
        n, n,
    ),
    "enqueue_unique to replace": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.enqueue_unique('q', array_fill('1'::jsonb, array[%s]),"
        " array(select 'key ' || n from generate_series(1, %s) n), on_conflict => 'replace', priority => 7)",
        n, n,
    ),
    "enqueue_unique of keys whose tasks have succeeded": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.enqueue_unique('past', array_fill('1'::jsonb, array[%s]),"
        " array(select 'past ' || n from generate_series(1, %s) n))",
        n, n,
    ),
    # A row is changed, and all of it is undone.
    "enqueue to a queue that is full": lambda s, tasks, leases, n: s.run(
        "do $$ begin update underway.queue set max_length = 100 where name = 'q'; perform underway.enqueue('q');"
        " raise exception using errcode = 'UW011'; exception when sqlstate 'UW011' then null; end $$"
    ),
    "cancel and retry": lambda s, tasks, leases, n: s.run(
        "do $$ begin perform underway.cancel(" + f"{tasks[0]}), underway.retry({tasks[0]});"
        " exception when sqlstate 'UW004' then null; end $$"
    ),
    "enqueue after others": lambda s, tasks, leases, n: s.run(
        "do $$ begin perform underway.enqueue('q', " + f"after => '{{{','.join(map(str, tasks))}}}'" + ");"
        " exception when sqlstate 'UW004' then null; end $$"
    ),
    "enqueue_batch": lambda s, tasks, leases, n: s.run(
        f"select underway.enqueue_batch({OBJECTS}, c, c, c) from jsonb_build_object('queue', 'q') c", n
    ),
    "extend_batch": lambda s, tasks, leases, n: s.run(
        f"select underway.extend_batch({BATCH_ID}, {OBJECTS})", n
    ),
    "complete tasks of a batch": lambda s, tasks, leases, n: s.run(
        SETTLE + "underway.complete_many(claimed.ids, claimed.leases)", n
    ),
    "complete tasks of a batch one by one": lambda s, tasks, leases, n: s.run(
        "select underway.complete(id, lease) from underway.dequeue('batched', %s)", max(1, n // 2)
    ),
    "fail tasks of a batch for good": lambda s, tasks, leases, n: s.run(
        SETTLE + "underway.fail_many(claimed.ids, claimed.leases, null, array_fill(false, array[%s]))",
        max(1, n // 2), max(1, n // 2),
    ),
    "look again at a batch": lambda s, tasks, leases, n: (
        s.run("insert into underway.batch_to_reevaluate (batch) values (%s)", BATCH_ID),
        s.run("select underway._reevaluate_batches()"),
    )[-1],
    "prune batches": lambda s, tasks, leases, n: s.run("select underway._prune_batches(%s)", n),
    "prune what unique keys hold": lambda s, tasks, leases, n: s.run("select underway._prune_reservations()"),
    "advance a watermark": lambda s, tasks, leases, n: s.run("select underway._advance_watermark('q', 0)"),
    "repair parked tasks": lambda s, tasks, leases, n: s.run("select underway._repair_parked('keyed', '', %s)", n // 2),
    "repair parked tasks of fair queues": lambda s, tasks, leases, n: s.run(
        "select underway._repair_parked('fair', '', %s)", n // 2
    ),
    "resume a key": lambda s, tasks, leases, n: s.run(
        "select underway.pause_key('keyed', 'hot'), underway.resume_key('keyed', 'hot')"
    ),
    "change a limit": lambda s, tasks, leases, n: s.run("select underway.create_queue('limited', max_running => 50)"),
    "snooze": lambda s, tasks, leases, n: s.run(
        "do $$ begin perform underway.snooze(" + f"{tasks[0]}, '{leases[0]}'" + ", '1 day');"
        " exception when sqlstate 'UW002' then null; end $$"
    ),
    "reschedule": lambda s, tasks, leases, n: s.run(
        "do $$ begin perform underway.reschedule(" + f"{tasks[0]}" + ", 'infinity');"
        " exception when sqlstate 'UW001' or sqlstate 'UW004' or sqlstate 'UW005' then null; end $$"
    ),
    "dequeue": lambda s, tasks, leases, n: s.run("select count(*) from underway.dequeue('q', %s)", n),
    "dequeue of several queues": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.dequeue('{q,other}'::text[], %s)", n
    ),
    "dequeue beside tasks that wait for their keys": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.dequeue('keyed', %s)", n
    ),
    "dequeue of tasks whose keys have become free": lambda s, tasks, leases, n: (
        s.run(FREE_NEXT_KEYS, n, n),
        s.run("select count(*) from underway.dequeue('keyed', %s)", n),
    )[-1],
    "dequeue of a queue with limits": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.dequeue('limited', %s)", n
    ),
    "dequeue of a fair queue": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.dequeue('fair', %s)", n
    ),
    "dequeue of a queue that is fair no longer": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.dequeue('once fair', %s)", n
    ),
    "enqueue to a fair queue": lambda s, tasks, leases, n: s.run(
        "select underway.enqueue_many('fair', array_fill('1'::jsonb, array[%s]), concurrency_key => 'hot')", n
    ),
    "free keys": lambda s, tasks, leases, n: s.run(FREE_NEXT_KEYS, n, n),
    "complete_many": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.complete_many(%s::bigint[], %s::uuid[])", tasks, leases
    ),
    "complete_and_dequeue": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.complete_and_dequeue(%s::bigint[], %s::uuid[], null, '{q}', %s)",
        tasks, leases, n,
    ),
    "fail_many to try again": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.fail_many(%s::bigint[], %s::uuid[], array_fill('1'::jsonb, array[%s]))",
        tasks, leases, len(tasks),
    ),
    "fail_many for good": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.fail_many(%s::bigint[], %s::uuid[], array_fill('1'::jsonb, array[%s]),"
        " array_fill(false, array[%s]))",
        tasks, leases, len(tasks), len(tasks),
    ),
    "release_many": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.release_many(%s::bigint[], %s::uuid[])", tasks, leases
    ),
    "heartbeat": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.heartbeat(%s::bigint[], %s::uuid[])", tasks, leases
    ),
    "dequeue behind expired tasks": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.dequeue('expired', %s)", n
    ),
    "dequeue behind expired tasks of a queue with limits": lambda s, tasks, leases, n: s.run(
        "select count(*) from underway.dequeue('limited expired', %s)", n
    ),
    "cancel expired tasks": lambda s, tasks, leases, n: s.run("select underway._expire_overdue(%s, now())", n),
    "reclaim": lambda s, tasks, leases, n: s.run("select underway._reclaim()"),
    "next_wakeup": lambda s, tasks, leases, n: s.run("select underway.next_wakeup('{q,other}')"),
    "next_wakeup of queues with limits": lambda s, tasks, leases, n: s.run(
        "select underway.next_wakeup('{keyed,limited,fair}')"
    ),
    "cancel": lambda s, tasks, leases, n: s.run("select underway.cancel(%s)", tasks[0]),
    "report_progress": lambda s, tasks, leases, n: s.run(
        "do $$ begin perform underway.report_progress(" + f"{tasks[0]}, '{leases[0]}'" + ", '1');"
        " exception when sqlstate 'UW002' then null; end $$"
    ),
    "task_info": lambda s, tasks, leases, n: s.run("select count(*) from underway.task_info(%s)", tasks[0]),
}  # fmt: skip


def cost(session: Session, call: Call, tasks: list[int], leases: list[str], n: int) -> Cost:
    with session.connection.transaction():
        ((whole_before, read_before),) = session.rows(COUNTERS)
        call(session, tasks, leases, n)
        ((whole, read),) = session.rows(COUNTERS)
    return Cost(whole - whole_before, read - read_before)


def see_cost(bench: Bench, session: Session, name: str, mode: str) -> None:
    """Make a call, and see that it reads no more than it may."""
    session.run(f"set plan_cache_mode = '{mode}'; set jit = off")
    # More often than it takes to try a generic plan.
    rounds = 6 if mode == "auto" and not bench.warm else 1
    for _ in range(rounds):
        batch = BATCH if rounds == 1 else BATCH // 4
        claimed = session.claim("q", batch)
        tasks = [id for id, _ in claimed]
        assert len(tasks) == batch
        if name == "reclaim":
            session.lapse(*tasks)
        found = cost(session, CALLS[name], tasks, [str(lease) for _, lease in claimed], batch)
        assert found.whole_tables == 0
        allowed = AT_ONCE if "expired" in name else batch
        assert 0 <= found.read <= PER_TASK * allowed + 100, found


def see_costs(bench: Bench) -> None:
    offenders: list[str] = []
    for name in CALLS:
        with contextlib.ExitStack() as stack:
            fresh = None if bench.warm else stack.enter_context(Session(bench.dsn))
            for mode in MODES:
                with listed(offenders, (name, mode)):
                    see_cost(bench, fresh or bench.warm[mode], name, mode)
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize("state", STATES)
def test_no_call_reads_more_than_it_needs_whatever_the_statistics_say(server: Server, state: str) -> None:
    with filled(server, state, 5_000) as bench:
        see_costs(bench)


def test_no_call_reads_more_than_it_needs_in_a_large_backlog(server: Server) -> None:
    with filled(server, "never analysed", 25_000) as bench:
        see_costs(bench)
        bench.session.run("analyze")
        see_costs(bench)
