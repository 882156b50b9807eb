-- stats_by_job: what happened to the tasks of each job in a time.
--
-- Writes: nothing.
-- Calls: _check_period, _sum_statistics.
-- Raises: UW001 invalid_argument.

create or replace function underway.stats_by_job(since timestamptz, until timestamptz, queue text default null)
returns setof underway.stats_of_job
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
    perform underway._check_period(stats_by_job.since, stats_by_job.until);

    return query
    select
        s.job, s.queue, s.enqueued, s.started, s.succeeded, s.failed, s.retried, s.cancelled, s.expired,
        s.run_p50, s.run_p95, s.run_p99, s.wait_p50, s.wait_p95, s.wait_p99
    from underway._sum_statistics(
        date_bin('1 minute', stats_by_job.since, 'epoch'), stats_by_job.until, null, stats_by_job.queue, null, true, true
    ) s;
end;
$$;

comment on function underway.stats_by_job(timestamptz, timestamptz, text) is
    'What happened from one time to another to the tasks of each job, with the same columns as stats_over_time.';
