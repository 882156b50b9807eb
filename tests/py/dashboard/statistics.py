"""A day of statistics: what charts show. It is written into the tables, for so many tasks would take too long."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg

# A job in a minute at noon: how many tasks, the part that fails, and the buckets of most run and waiting times.
FILL = """
with job (queue, job, per_minute, failing, run_bucket, wait_bucket) as (
    values
        ('mail', 'send_mail', 38, 0.012, 9, 6), ('mail', 'send_newsletter', 9, 0.002, 8, 11),
        ('payments', 'charge_card', 14, 0.03, 11, 7), ('payments', 'refund', 1, 0.01, 11, 7),
        ('images', 'resize_image', 17, 0.02, 12, 9), ('search', 'reindex_product', 26, 0.004, 6, 5),
        ('webhooks', 'deliver_webhook', 11, 0.09, 10, 8), ('imports', 'import_products', 0.4, 0.05, 17, 12),
        ('reports', 'nightly_report', 0.05, 0.0, 19, 10)
), minute as (
    select
        m.at, j.*,
        -- One row stands for a minute in the last hour, and for five before. A night, a day with two peaks, and
        -- noise that is the same each time.
        (0.25 + 0.75 * (0.5 - 0.5 * cos(2 * pi() * (h.hour - 3) / 24)) + 0.25 * exp(-((h.hour - 14) ^ 2) / 3))
            * (0.8 + 0.4 * (abs(hashtext(j.job || m.number)) %% 1000) / 1000.0) as load,
        -- For twenty-five minutes the bank does not answer.
        j.queue = 'payments' and m.number between 190 and 215 as outage,
        (abs(hashtext(m.number || j.job || 'failing')) %% 1000) / 1000.0 as chance,
        m.number
    from (
        select n as number, date_trunc('minute', %(now)s::timestamptz) - n * interval '1 minute' as at
        from generate_series(0, 1440) n
        where n < 75 or mod(n, 5) = 0
    ) m
    cross join lateral (select extract(epoch from m.at at time zone 'UTC')::float8 / 3600 as raw) e
    cross join lateral (select e.raw - 24 * floor(e.raw / 24) as hour) h
    cross join job j
), counted as (
    select
        m.*, floor(m.per_minute * m.load * case when m.number < 75 then 1 else 5 end + m.chance)::bigint as started,
        case when m.outage then 0.8 else m.failing end as failing_now
    from minute m
), ended as (
    select
        c.*, floor(c.started * c.failing_now * 0.25 + c.chance)::bigint as failed,
        floor(c.started * c.failing_now + c.chance * 0.6)::bigint as retried
    from counted c
    where c.started > 0
), row_of as (
    select
        e.at, e.started + (e.outage)::integer * 9 as enqueued, e.started,
        greatest(e.started - e.failed - e.retried, 0) as succeeded,
        least(e.failed, e.started) as failed, least(e.retried, e.started) as retried,
        (e.number %% 97 = 0)::integer as cancelled, (e.number %% 331 = 0)::integer as expired,
        e.started * 0.001 * 2 ^ e.run_bucket as run_seconds, e.started * 0.001 * 2 ^ e.wait_bucket as wait_seconds,
        e.queue, e.job,
        pg_temp.histogram_around(e.started, e.run_bucket + case when e.outage then 3 else 0 end) as run_histogram,
        pg_temp.histogram_around(
            e.started, e.wait_bucket + (e.load > 1.05)::integer + case when e.outage then 4 else 0 end
        )
            as wait_histogram
    from ended e
)
insert into underway.task_stat (
    step, at, enqueued, started, succeeded, failed, retried, cancelled, expired, run_seconds, wait_seconds, queue, job,
    run_histogram, wait_histogram
)
select
    s.step, s.at, r.enqueued, r.started, r.succeeded, r.failed, r.retried, r.cancelled, r.expired, r.run_seconds,
    r.wait_seconds, r.queue, r.job, r.run_histogram, r.wait_histogram
from row_of r
cross join lateral (select 'minute'::underway.stat_step as step, r.at as at) s
"""

# So many tasks in the buckets around one: most in it, some far above it.
HISTOGRAM = """
create function pg_temp.histogram_around(tasks bigint, bucket integer) returns bigint[] language sql immutable as $$
    select array_fill(0::bigint, array[greatest(bucket - 3, 0)]) || array(
        select round(tasks * w.upto)::bigint - round(tasks * coalesce(lag(w.upto) over (order by w.upto), 0))::bigint
        from unnest(array[0.08, 0.3, 0.68, 0.87, 0.95, 0.985, 1.0]) as w (upto)
        order by w.upto
    )
$$
"""

# The sums of hours, of days and since the installation, and in each of them those of everything.
BUCKETS = ", ".join(f"coalesce(sum({{0}}[{n}]), 0)::bigint" for n in range(1, 29))
SUMS = f"""
insert into underway.task_stat (
    step, at, queue, job, enqueued, started, succeeded, failed, retried, cancelled, expired, run_seconds, wait_seconds,
    run_histogram, wait_histogram
)
select
    line.step, line.at, line.queue, line.job, sum(s.enqueued), sum(s.started), sum(s.succeeded), sum(s.failed),
    sum(s.retried),    sum(s.cancelled), sum(s.expired), sum(s.run_seconds), sum(s.wait_seconds),
    array[{BUCKETS.format("s.run_histogram")}], array[{BUCKETS.format("s.wait_histogram")}]
from underway.task_stat s
cross join lateral (
    values
        ('minute'::underway.stat_step, s.at, '', ''), ('hour', date_trunc('hour', s.at), s.queue, s.job),
        ('hour', date_trunc('hour', s.at), '', ''), ('day', date_bin('1 day', s.at, 'epoch'), s.queue, s.job),
        ('day', date_bin('1 day', s.at, 'epoch'), '', ''), ('total', '-infinity', s.queue, s.job),
        ('total', '-infinity', '', '')
) as line (step, at, queue, job)
group by line.step, line.at, line.queue, line.job
"""

DEPTH = """
insert into underway.queue_depth (at, ready, scheduled, in_progress, waiting, oldest_ready_seconds, queue)
select
    s.at, s.ready, greatest(0, round(6 + 5 * sin(s.number / 80.0)))::bigint, least(s.ready, 12), s.number %% 3,
    case when s.ready > 0 then 1.5 + s.ready / 4.0 end, s.queue
from (
    select
        date_trunc('minute', %(now)s::timestamptz) - n * interval '1 minute' as at, n as number, q.queue,
        case
            when q.queue = 'payments' and n between 160 and 215 then (215 - n) * 9 + 4
            when q.queue = 'webhooks' and n < 26 then 41
            else (abs(hashtext(q.queue || n)) %% 9 + 3 * sin(n / 60.0) + 3)::integer
        end::bigint as ready
    from generate_series(0, 1440) n
    cross join unnest(array['mail', 'payments', 'images', 'search', 'webhooks']) as q (queue)
) s
"""


def fill(connection: psycopg.Connection[Any], now: datetime) -> None:
    """Replace the statistics by those of a day with a quiet night, a busy noon and an outage of payments."""
    connection.execute("truncate underway.task_stat, underway.uncounted, underway.queue_depth")
    connection.execute(HISTOGRAM)
    connection.execute(FILL, {"now": now})
    connection.execute(SUMS.encode())
    connection.execute(DEPTH, {"now": now})
    connection.execute("analyze underway.task_stat")
