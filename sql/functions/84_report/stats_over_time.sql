-- stats_over_time: what happened to tasks, step by step over a time.
--
-- Writes: nothing.
-- Calls: _check_period, _sum_statistics.
-- Raises: UW001 invalid_argument.

create or replace function underway.stats_over_time(
    since timestamptz,
    until timestamptz,
    step interval default null,
    queue text default null,
    job text default null
)
returns setof underway.stats_of_time
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
    v_step  interval := underway._check_period(stats_over_time.since, stats_over_time.until, stats_over_time.step);
    v_since timestamptz := date_bin(v_step, stats_over_time.since, '2000-01-03 00:00:00+00');
begin
    return query
    select
        slot.at, coalesce(s.enqueued, 0), coalesce(s.started, 0), coalesce(s.succeeded, 0), coalesce(s.failed, 0),
        coalesce(s.retried, 0), coalesce(s.cancelled, 0), coalesce(s.expired, 0),
        s.run_p50, s.run_p95, s.run_p99, s.wait_p50, s.wait_p95, s.wait_p99
    from generate_series(v_since, stats_over_time.until - interval '1 microsecond', v_step) as slot (at)
    left join underway._sum_statistics(
        v_since, stats_over_time.until, v_step, stats_over_time.queue, stats_over_time.job, false, false
    ) s on s.at = slot.at
    order by slot.at;
end;
$$;

comment on function underway.stats_over_time(timestamptz, timestamptz, interval, text, text) is
    'What happened to tasks from one time to another, of all or of one queue and job: a row for each step, also where nothing'
    ' happened, the oldest first. The first step may begin before since. Without a step there are about a hundred rows. Counts'
    ' are of what ended in the step; started is of the attempts that began in it and have ended. The percentiles of run times'
    ' and waiting times are in seconds, and null without data. maintain() counts once a second.';
