"""A shop that has been running for a day: what the dashboard shows in its tests and in the pictures of its guide.

Everything is made through the functions of the schema, under a clock that starts a day ago and moves forward, so that
each time, attempt and error is one that the database itself has recorded. The random numbers have a fixed seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any, LiteralString

import psycopg

from underway_pg import __version__

from . import statistics

CLOCK = """create or replace function underway._clock() returns timestamptz language sql volatile as
    $$ select coalesce(nullif(current_setting('test.now', true), '')::timestamptz, clock_timestamp()) $$"""

# Queue, its job, tasks in three quarters of an hour, and the share of them that fails at first.
TRAFFIC = [
    ("mail", "send_mail", 3, 0.05),
    ("mail", "send_newsletter", 1, 0.0),
    ("payments", "charge_card", 2, 0.12),
    ("images", "resize_image", 2, 0.08),
    ("search", "reindex_product", 2, 0.02),
]

ERRORS: dict[str, list[tuple[str, str]]] = {
    "send_mail": [
        ("SMTPRecipientsRefused", "550 5.1.1 '{name}{n}@example.org': Recipient address rejected: User unknown"),
        ("TimeoutError", "mail.example.net:587 did not answer within 30 seconds"),
    ],
    "charge_card": [
        ("CardDeclined", "card ending in {n} was declined: insufficient_funds"),
        ("ConnectionResetError", "[Errno 104] Connection reset by peer"),
    ],
    "resize_image": [
        ("UnidentifiedImageError", "cannot identify image file 'uploads/{n}/original.jpg'"),
        ("MemoryError", "image of 24000 x 18000 pixels"),
    ],
    "reindex_product": [("KeyError", "'price'")],
}
# As many failures as the statistics count. They name tasks that have really failed with their errors.
EVENTS = """
    with known as (
        select e.*, row_number() over (partition by e.queue, e.job, e.kind order by e.id) as number,
            count(*) over (partition by e.queue, e.job, e.kind) as of
        from underway.event e
        where e.kind in ('attempt_failed', 'task_failed')
    )
    insert into underway.event (at, task, kind, queue, job, details)
    select f.at + f.n * interval '1 second', k.task, f.kind, f.queue, f.job, k.details
    from (
        select
            s.at, s.queue, s.job, f.kind, f.n,
            row_number() over (partition by s.queue, s.job, f.kind order by s.at) as number
        from underway.task_stat s
        cross join lateral (
            select 'task_failed' as kind, n from generate_series(1, s.failed) n
            union all
            select 'attempt_failed', n from generate_series(1, s.retried) n
        ) f
        where s.step = 'minute' and s.queue <> ''
    ) f
    join known k on k.queue = f.queue and k.job = f.job and k.kind = f.kind
        and k.number = 1 + (abs(hashtext(f.number::text)) %% k.of)
    order by f.at
"""
NAMES = ["ada", "grace", "barbara", "edsger", "zoë", "jürgen", "小林", "оля"]


@dataclass
class Shop:
    """The ids of the tasks and batches that tests open."""

    dsn: str
    tasks: dict[str, int] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=dict)


class Clerk:
    """Calls the functions of the schema at given times."""

    def __init__(self, connection: psycopg.Connection[Any], now: datetime) -> None:
        self.connection = connection
        self.random = random.Random(17)
        self.at = now

    def go_to(self, at: datetime) -> None:
        """Set the clock. It never goes back: the watermarks of the queues rely on that."""
        assert at >= self.at, (at, self.at)
        self.at = at
        self.connection.execute("select set_config('test.now', %s, false)", [at.isoformat()])

    def later(self, **by: float) -> None:
        self.go_to(self.at + timedelta(**by))

    def rows(self, sql: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []

    def value(self, sql: LiteralString, **values: Any) -> Any:
        return self.rows(sql, **values)[0][0]

    def enqueue(self, queue: str, job: str | None, input: Any, **options: Any) -> int:
        given = {"queue": queue, "input": input} | ({"job": job} if job else {}) | options
        task: int = self.value("select (underway.enqueue_many(%(task)s::jsonb))[1]", task=json.dumps([given]))
        return task

    def claim(self, queue: str, count: int, worker: int | None = None) -> dict[int, Any]:
        return dict(
            self.rows(
                "select id, lease from underway.dequeue(%(queue)s, %(count)s, %(worker)s::bigint)",
                queue=queue,
                count=count,
                worker=worker,
            )
        )

    def complete(self, task: int, lease: Any, output: Any = None) -> None:
        text = None if output is None else json.dumps(output)
        self.rows("select underway.complete(%(t)s, %(l)s, %(o)s::jsonb)", t=task, l=lease, o=text)

    def fail(self, task: int, lease: Any, job: str, *, retryable: bool = True) -> None:
        kind, message = self.random.choice(ERRORS[job])
        message = message.format(n=self.random.randrange(1000, 9999), name=self.random.choice(NAMES))
        error = {"type": kind, "message": message, "traceback": traceback_of(job, kind, message)}
        self.rows(
            "select underway.fail(%(t)s, %(l)s, %(e)s::jsonb, %(r)s)", t=task, l=lease, e=json.dumps(error), r=retryable
        )


def traceback_of(job: str, kind: str, message: str) -> str:
    return (
        "Traceback (most recent call last):\n"
        f'  File "/srv/shop/jobs/{job}.py", line 48, in {job}\n'
        "    await client.deliver(order, attempt=context.attempt)\n"
        '  File "/srv/shop/clients/http.py", line 112, in deliver\n'
        "    response = await self._send(request, timeout=self.timeout)\n"
        "               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        f"{kind}: {message}\n"
    )


def open_shop(dsn: str, now: datetime | None = None) -> Shop:
    """Fill a database that is as `migrate` leaves it. Takes about two seconds."""
    now = now or datetime.now(UTC)
    shop = Shop(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection, moved_clock(connection):
        clerk = Clerk(connection, now - timedelta(hours=25))
        clerk.go_to(now - timedelta(hours=24))
        _declare(clerk)
        _start_workers(clerk, shop, now)
        _schedule(clerk)
        _trade(clerk, shop, until=now - timedelta(hours=1))
        _finish_batches(clerk, shop)
        clerk.go_to(now - timedelta(minutes=45))
        _fail_for_good(clerk, shop)
        clerk.go_to(now - timedelta(minutes=25))
        _leave_a_backlog(clerk, shop, now)
        clerk.go_to(now)
        clerk.rows("select underway.run_schedules(); select underway.maintain()")
        statistics.fill(connection, now)
        clerk.rows(EVENTS, now=now)
    return shop


@contextmanager
def moved_clock(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """The clock of the database can be moved by a setting of the session; put back at the end."""
    row = connection.execute("select pg_get_functiondef('underway._clock'::regproc)").fetchone()
    assert row
    connection.execute(CLOCK)
    yield
    connection.execute("select set_config('test.now', '', false)")
    connection.execute(row[0])


def _declare(clerk: Clerk) -> None:
    clerk.rows("""
        select underway.create_queue('dead');
        select underway.create_queue('mail', dead_letter_queue => 'dead', rate_limit => 600, rate_period => '1 minute',
            retry_policy => underway.retry_policy(max_attempts => 3));
        select underway.create_queue('payments', dead_letter_queue => 'dead', max_running => 4,
            max_running_per_key => 1,            timeout => '2 minutes', retention => '60 days');
        select underway.create_queue('images', max_running => 8, fair => true, max_running_per_key => 2);
        select underway.create_queue('reports', max_length => 500);
        select underway.create_queue('search', keep_history => true);
        select underway.create_queue('webhooks', dead_letter_queue => 'dead', rate_limit_per_key => 10,
            rate_period => '1 second');
        select underway.create_queue('imports', max_running_per_key => 1);
        select underway.register_job('send_mail', 'mail', retry_policy => underway.retry_policy(3, '10 seconds'));
        select underway.register_job('send_newsletter', 'mail', priority => -10, expires => '6 hours');
        select underway.register_job('charge_card', 'payments', timeout => '30 seconds', priority => 50);
        select underway.register_job('refund', 'payments', priority => 50);
        select underway.register_job('resize_image', 'images', timeout => '5 minutes', heartbeat => '10 seconds');
        select underway.register_job('reindex_product', 'search', retention => '1 day');
        select underway.register_job('nightly_report', 'reports', timeout => '1 hour', owner => 'shop.jobs');
        select underway.register_job('deliver_webhook', 'webhooks',
            retry_policy => underway.retry_policy(12, '30 seconds', '6 hours'));
        select underway.register_job('import_products', 'imports', timeout => '4 hours');
        select underway.register_job('clean_up', 'reports')
    """)


def _start_workers(clerk: Clerk, shop: Shop, now: datetime) -> None:
    """Two that are alive, one that was asked to stop, and one that has been lost."""
    for name, queues, concurrency in (
        ("web-1:4021", ["mail", "payments"], 20),
        ("web-2:977", ["mail", "payments", "images", "search"], 20),
        ("media-1:31", ["images", "imports"], 4),
        ("batch-1:2204", ["search", "reports"], 8),
    ):
        shop.workers[name] = clerk.value(
            "select underway.register_worker(%(name)s, %(queues)s, %(concurrency)s, %(version)s)",
            version="0.9.4" if name == "media-1:31" else __version__,
            name=name,
            queues=queues,
            concurrency=concurrency,
        )
    clerk.rows("select underway.stop_workers(worker => %(id)s)", id=shop.workers["media-1:31"])
    clerk.rows("update underway.worker set stop_asked_at = %(at)s where stop_asked_at is not null", at=now)
    see_workers(clerk.connection, shop, now)
    clerk.rows(
        "update underway.worker set skipped_jobs = '{refund}', idle = true where id = %(id)s",
        id=shop.workers["web-1:4021"],
    )


def see_workers(connection: psycopg.Connection[Any], shop: Shop, now: datetime) -> None:
    """Let the workers send a heartbeat, but for the lost one."""
    for number, name in enumerate(shop.workers):
        silent = timedelta(minutes=7) if name == "batch-1:2204" else timedelta(seconds=number)
        connection.execute("update underway.worker set seen_at = %s where id = %s", [now - silent, shop.workers[name]])


@contextmanager
def alive(shop: Shop) -> Iterator[None]:
    """Keep the workers of a shop alive."""
    over = Event()

    def beat() -> None:
        with psycopg.connect(shop.dsn, autocommit=True) as connection:
            while True:
                see_workers(connection, shop, datetime.now(UTC))
                if over.wait(15):
                    return

    with ThreadPoolExecutor(1) as thread:
        beating = thread.submit(beat)
        try:
            yield
        finally:
            over.set()
            beating.result()


def _schedule(clerk: Clerk) -> None:
    """Schedules that run, one that is paused, and one that fails, because somebody dropped its queue."""
    clerk.rows("""
        select underway.schedule('nightly report', 'reports', '0 2 * * *', 'Europe/Berlin', job => 'nightly_report');
        select underway.schedule('weekday digest', 'mail', '0 9 * * 1-5', 'America/New_York', job => 'send_newsletter');
        select underway.schedule('reindex', 'search', '*/30 * * * *', input => '{"all": true}',
            job => 'reindex_product', overlap => 'skip');
        select underway.schedule('clean up', 'reports', '@every 90 minutes', job => 'clean_up');
        select underway.schedule('invoices', 'payments', '0 6 1 * *', 'Europe/Vienna', job => 'charge_card');
        select underway.schedule('exchange rates', 'imports', '15 * * * *', input => '{"source": "ecb"}');
        select underway.pause_schedule('invoices');
        select underway.create_queue('legacy');
        select underway.schedule('legacy export', 'legacy', '*/10 * * * *');
        select underway.drop_queue('legacy', true)
    """)


def _trade(clerk: Clerk, shop: Shop, until: datetime) -> None:
    """A day of ordinary work, every three quarters of an hour."""
    worker = shop.workers["web-2:977"]
    names = clerk.random
    while clerk.at + timedelta(minutes=45) < until:
        step = clerk.at + timedelta(minutes=45)
        jobs: dict[int, tuple[str, float]] = {}
        for queue, job, count, failing in TRAFFIC:
            for _ in range(count):
                n = names.randrange(1000, 9999)
                input = {"order": n, "to": f"{names.choice(NAMES)}@example.org"}
                key = {"concurrency_key": f"shop-{n % 5}"} if queue == "images" else {}
                jobs[clerk.enqueue(queue, job, input, **key)] = (job, failing)
        clerk.rows("select underway.run_schedules()")
        clerk.later(seconds=names.uniform(0.2, 4))
        for queue in ("mail", "payments", "images", "search", "reports", "imports"):
            for task, lease in clerk.claim(queue, 10, worker).items():
                clerk.later(seconds=names.uniform(0.1, 3))
                job, failing = jobs.get(task, ("send_mail", 0.0))
                if names.random() < failing and job in ERRORS:
                    clerk.fail(task, lease, job, retryable=names.random() < 0.6)
                else:
                    clerk.complete(task, lease, {"delivered": True, "seconds": round(names.uniform(0.1, 2), 3)})
        clerk.go_to(max(step, clerk.at))


def _finish_batches(clerk: Clerk, shop: Shop) -> None:
    """A batch that succeeded, one with failures, one that was cancelled, and one that is half done."""
    for name, count, finish in (
        ("newsletter week 47", 12, "succeed"),
        ("price update", 8, "fail"),
        ("migration of images", 6, "cancel"),
        ("import of suppliers", 20, "half"),
    ):
        tasks = [
            {"job": "import_products", "queue": "imports", "input": {"file": f"part-{n:03}.csv"}} for n in range(count)
        ]
        batch = clerk.value(
            "select underway.enqueue_batch(%(tasks)s::jsonb, on_success => %(done)s::jsonb,"
            " on_failure => %(bad)s::jsonb, name => %(name)s)",
            tasks=json.dumps(tasks),
            done=json.dumps({"job": "nightly_report", "queue": "reports", "input": {"after": name}}),
            bad=json.dumps({"job": "send_mail", "queue": "mail", "input": {"to": "ops@example.org"}}),
            name=name,
        )
        shop.batches[finish] = batch
        if finish == "cancel":
            clerk.rows("select underway.cancel_batch(%(batch)s)", batch=batch)
        claimed = (
            clerk.claim("imports", {"succeed": 12, "fail": 8, "half": 9, "cancel": 0}[finish])
            if finish != "cancel"
            else {}
        )
        for number, (task, lease) in enumerate(claimed.items()):
            clerk.later(seconds=2)
            if finish == "fail" and number < 2:
                error = json.dumps({"type": "ValueError", "message": "could not convert string to float: '12,50 €'"})
                clerk.rows("select underway.fail(%(t)s, %(l)s, %(e)s::jsonb, false)", t=task, l=lease, e=error)
            else:
                clerk.complete(task, lease, {"rows": 1000 + number})


def _fail_for_good(clerk: Clerk, shop: Shop) -> None:
    """Tasks that have used up their attempts, and their dead letters."""
    for n in range(24):
        queue, job = [("payments", "charge_card"), ("mail", "send_mail")][n % 3 == 0]
        task = clerk.enqueue(
            queue, job, {"order": 4700 + n, "customer": f"{NAMES[n % len(NAMES)]}", "amount": 12.5 * n}
        )
        claimed = clerk.claim(queue, 1)
        clerk.later(seconds=11)
        for id, lease in claimed.items():
            clerk.fail(id, lease, job, retryable=False)
        shop.tasks["failed"] = task
    task = clerk.enqueue(
        "images",
        "resize_image",
        {"image": 77, "sizes": [320, 1200], "source": {"bucket": "uploads", "key": "5364/original.jpg"}},
        retry_policy={"max_attempts": 3, "initial_interval": "1 second"},
    )
    for _ in range(3):
        clerk.later(seconds=20)
        claimed = clerk.claim("images", 8)
        clerk.later(seconds=4.2)
        for id, lease in claimed.items():
            clerk.fail(id, lease, "resize_image")
    shop.tasks["failed thrice"] = task


def _leave_a_backlog(clerk: Clerk, shop: Shop, now: datetime) -> None:
    """What is ready, scheduled, running, waiting and blocked now."""
    first, second = shop.workers["web-1:4021"], shop.workers["web-2:977"]
    for n in range(40):
        clerk.enqueue(
            "webhooks", "deliver_webhook", {"event": "order.paid", "order": n}, concurrency_key=f"customer-{n % 4}"
        )
    clerk.rows("select underway.pause_key('webhooks', 'customer-2')")
    for n in range(30):
        clerk.enqueue("reports", "nightly_report", {"day": f"2026-11-{n % 28 + 1:02}"})
    clerk.rows("select underway.pause_queue('reports')")
    clerk.go_to(now - timedelta(minutes=2))
    for n in range(60):
        clerk.enqueue("mail", "send_mail", {"to": f"{NAMES[n % len(NAMES)]}@example.org", "template": "receipt"})
    for n in range(14):
        clerk.enqueue("payments", "charge_card", {"order": 9000 + n}, concurrency_key=f"customer-{n % 3}")
        clerk.enqueue("images", "resize_image", {"image": n, "width": 1200}, concurrency_key=f"shop-{n % 5}")
    clerk.go_to(now - timedelta(seconds=25))
    running = {
        **clerk.claim("mail", 9, first),
        **clerk.claim("payments", 4, second),
        **clerk.claim("images", 6, second),
    }
    for number, (task, lease) in enumerate(running.items()):
        clerk.rows(
            "select underway.report_progress(%(t)s, %(l)s, %(p)s::jsonb)",
            t=task,
            l=lease,
            p=json.dumps({"done": number * 5, "of": 100}),
        )
        shop.tasks["running"] = task
    # Their leases last while the tests run: nobody renews them.
    clerk.rows(
        "update underway.task set lease_expires_at = lease_expires_at + interval '2 hours' where state = 'in_progress'"
    )
    shop.tasks["scheduled"] = clerk.enqueue(
        "mail", "send_newsletter", {"issue": 48}, delay="3 hours", unique_key="issue-48"
    )
    extract = clerk.enqueue("imports", "import_products", {"file": "suppliers-ü.csv"})
    shop.tasks["waiting"] = clerk.enqueue("reports", "nightly_report", {"after": "import"}, after=[extract])
    shop.tasks["ready"] = clerk.enqueue("search", "reindex_product", {"product": "Fahrradschloß №7, „Größe L“ 🚲"})
    retried = clerk.enqueue("webhooks", "deliver_webhook", {"event": "order.refunded"}, priority=90)
    for id, lease in clerk.claim("webhooks", 1).items():
        error = {
            "type": "HTTPStatusError",
            "message": "503 Service Unavailable",
            "traceback": traceback_of("deliver_webhook", "HTTPStatusError", "503 Service Unavailable"),
        }
        clerk.rows("select underway.fail(%(t)s, %(l)s, %(e)s::jsonb)", t=id, l=lease, e=json.dumps(error))
    shop.tasks["retrying"] = retried
