-- stats_total: what has happened to the tasks of each queue and job since the installation: counters for metrics.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace view underway.stats_total as
select
    s.queue::text as queue,
    s.job::text as job,
    s.enqueued,
    s.started,
    s.succeeded,
    s.failed,
    s.retried,
    s.cancelled,
    s.expired,
    s.run_seconds,
    s.wait_seconds,
    s.run_histogram || array_fill(0::bigint, array[28 - cardinality(s.run_histogram)]) as run_histogram,
    s.wait_histogram || array_fill(0::bigint, array[28 - cardinality(s.wait_histogram)]) as wait_histogram
from underway.task_stat s
where s.step = 'total'
  and s.queue <> '';

comment on view underway.stats_total is
    'Counters of each queue and job since the installation. The job is empty for tasks without one. The histograms have 28'
    ' counts, not cumulative, for the buckets of histogram_bounds(). Sums are in seconds.';
