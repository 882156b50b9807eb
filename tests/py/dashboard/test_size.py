"""Every page stays fast with millions of finished tasks: it counts no history, and reads it by indexes only.

`make dashboard-size` runs this with five million, and prints a table for the guide.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from underway_pg.dashboard import Dashboard

from . import places
from .conftest import CopyShop
from .data import Shop

LONG = os.environ.get("UNDERWAY_LONG") == "1"
FINISHED = 5_000_000 if LONG else 100_000
LIVE = 50_000 if LONG else 5_000
# Milliseconds for a page, of the dashboard and its sessions in the database together, in the mean of so many requests.
# Where it can be read, it is the time of the processors that counts: other programs use them at the same time.
LIMIT = 300
TIMES = 4

MASS = """
with line as (
    select
        n, %(first)s + n as id, s.finished_at,
        (array['mail', 'payments', 'images', 'search', 'webhooks'])[1 + n %% 5] as queue,
        (array['send_mail', 'charge_card', 'resize_image', 'reindex_product', 'deliver_webhook'])[1 + n %% 5] as job,
        case when n %% 40 = 3 then 'failed' when n %% 200 = 7 then 'cancelled' else 'succeeded' end::text
            ::underway.task_state as state,
        s.finished_at + interval '14 days' as kept_until
    from generate_series(1, %(number)s) n
    cross join lateral (
        select now() - interval '13 days' * (1 - n / %(number)s::float8) as finished_at
    ) s
)
insert into underway.task_history (
    id, enqueued_at, started_at, finished_at, kept_until, worker, priority, attempt, state, kept_slot, queue, job,
    concurrency_key, input, output, errors
)
select
    l.id, l.finished_at - interval '9 seconds', l.finished_at - interval '2 seconds', l.finished_at, l.kept_until, 1,
    0, 1, l.state,    underway._history_slot(l.kept_until, now()), l.queue, l.job, 'customer-' || l.n %% 1000,
    jsonb_build_object('order', l.n, 'customer', l.n %% 1000), '{"delivered": true}',
    case when l.state = 'failed' then jsonb_build_array(jsonb_build_object(
        'type', 'TimeoutError', 'message', format('host %%s did not answer within 30 seconds', l.n %% 50),
        'attempt', 1, 'started_at', l.finished_at, 'failed_at', l.finished_at
    )) end
from line l
"""

STATISTICS = """
insert into underway.task_stat (
    step, at, queue, job, enqueued, started, succeeded, failed, retried, run_seconds, wait_seconds,
    run_histogram, wait_histogram
)
select
    s.step::underway.stat_step, s.at, l.queue, l.job, 40, 40, 38, 1, 1, 40, 80,
    array[0, 0, 0, 0, 0, 0, 0, 0, 4, 22, 9, 3, 1, 1]::bigint[], array[0, 0, 0, 0, 0, 0, 4, 22, 9, 3, 1, 1]::bigint[]
from (
    select 'minute' as step, date_trunc('minute', now()) - n * interval '1 minute' as at
    from generate_series(0, %(minutes)s) n
    union all
    select 'hour', date_trunc('hour', now()) - n * interval '1 hour' from generate_series(0, 720) n
    union all
    select 'day', date_bin('1 day', now(), 'epoch') - n * interval '1 day' from generate_series(0, 30) n
) s
cross join (
    values ('', ''), ('mail', 'send_mail'), ('mail', 'send_newsletter'), ('payments', 'charge_card'),
        ('payments', 'refund'), ('images', 'resize_image'), ('search', 'reindex_product'),
        ('webhooks', 'deliver_webhook'),
        ('reports', 'nightly_report'),
        ('imports', 'import_products'), ('reports', 'clean_up')
) as l (queue, job)
on conflict do nothing
"""

EVENTS = """
insert into underway.event (at, task, kind, queue, job, details)
select
    now() - interval '7 days' * (1 - n / %(number)s::float8), %(first)s + n * 40 + 3, 'task_failed', 'payments',
    'charge_card',    jsonb_build_object(
        'type', 'TimeoutError', 'message', format('host %%s did not answer within 30 seconds', n %% 50), 'attempt', 1
    )
from generate_series(1, %(number)s) n
"""


@pytest.fixture(scope="module")
def big(copy_shop: CopyShop) -> Iterator[Shop]:
    """The sample data, and behind it a long history, a month of statistics and a backlog."""
    with copy_shop() as shop:
        with psycopg.connect(shop.dsn, autocommit=True) as connection:
            row = connection.execute("select max(id) from underway.task_list").fetchone()
            assert row
            first = row[0]
            connection.execute("alter table underway.task alter id restart with 100000000")
            connection.execute(MASS, {"first": first, "number": FINISHED})
            connection.execute(STATISTICS, {"minutes": 43_200 if LONG else 1_440})
            connection.execute(EVENTS, {"first": first, "number": FINISHED // 60})
            connection.execute(
                """select underway.enqueue_many('mail', array(
                    select jsonb_build_object('order', n) from generate_series(1, %s) n
                ), job => 'send_mail')""",
                [LIVE],
            )
            connection.execute("vacuum analyze")
        yield shop


class Meter:
    """Reads how much of the processors this process and the sessions of the dashboard have used, or else the time."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

    def seconds(self) -> float:
        """A time that only grows."""
        rows = self._connection.execute(
            "select pid from pg_stat_activity where datname = current_database() and application_name like 'underway%'"
        ).fetchall()
        files = [Path(f"/proc/{pid}/stat") for (pid,) in rows]
        try:
            stats = [file.read_text().rpartition(")") for file in files]
        except OSError:
            stats = []
        if not stats or not all("(postgres" in name for name, _, _ in stats):
            return time.perf_counter()
        # The times in user mode and in the kernel are fields 14 and 15 of proc(5); the third follows the name.
        ticks = sum(int(field) for _, _, rest in stats for field in rest.split()[11:13])
        return time.process_time() + ticks / self._tick


SEARCHES = [
    "/tasks?state=succeeded", "/tasks?state=failed&queue=payments", "/tasks?job=charge_card&error=did+not+answer",
    "/tasks?error=no+such+error", "/tasks?input=%24.order+%3F+%28%40+%3D%3D+-1%29", "/tasks?key=customer-77",
    "/tasks?queue=mail&state=pending", "/tasks?finished_before=2001-01-01", "/tasks?worker=4711",
    "/tasks?dead_letter=yes", "/tasks?before=1000", "/tasks/act?all=retry&state=failed", "/tasks/act?all=delete",
    "/?span=7d", "/?span=30d", "/failures?span=7d", "/queues/one?name=mail&span=30d", "/jobs?span=30d",
    "/jobs/one?name=send_mail&span=7d",
]  # fmt: skip


@pytest.mark.thorough
def test_every_page_is_fast_with_a_long_history(big: Shop) -> None:
    dashboard = Dashboard(big.dsn, local=True)
    took: dict[str, float] = {}
    with (
        psycopg.connect(big.dsn, autocommit=True) as connection,
        TestClient(dashboard, "http://127.0.0.1", client=("127.0.0.1", 5000), follow_redirects=False) as client,
    ):
        meter = Meter(connection)
        paths = [path for found in places.pages(big).values() for path in found] + SEARCHES
        for path in dict.fromkeys(paths):
            client.get(path)  # it connects, and prepares statements and templates
            begun = meter.seconds()
            for _ in range(TIMES):
                answer = client.get(path)
                assert answer.status_code in (200, 400), (path, answer.status_code)
            took[path] = (meter.seconds() - begun) * 1000 / TIMES
    print(f"\n\n| page | ms, with {FINISHED:,} finished tasks |\n|---|---|")
    for path, milliseconds in took.items():
        print(f"| `{path}` | {milliseconds:.0f} |")
    slow = {path: round(milliseconds) for path, milliseconds in took.items() if milliseconds > LIMIT}
    assert slow == {}
