-- _count_attempts: count attempts of live tasks that end now. The caller has locked the tasks.
--
-- Writes: task_stat_delta.
-- Calls: _clock, _wait_bounds.

create or replace function underway._count_attempts(tasks bigint[], outcome text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now    timestamptz := underway._clock();
    v_bounds interval[] := underway._wait_bounds();
begin
    insert into underway.task_stat_delta (
        at, outcome, queue, job, started_at, run_bucket, wait_bucket, tasks, run_seconds, wait_seconds
    )
    select
        v_now, _count_attempts.outcome, a.queue, a.job, a.started_at, a.run_bucket, a.wait_bucket, count(*),
        extract(epoch from sum(a.run)), extract(epoch from sum(a.wait))
    from (
        select
            t.queue, coalesce(t.job, '') as job,
            date_bin('1 minute', t.started_at, 'epoch') as started_at,
            width_bucket(x.run, v_bounds) + 1 as run_bucket,
            width_bucket(x.wait, v_bounds) + 1 as wait_bucket,
            x.run, x.wait
        from underway.task t
        cross join lateral (
            select
                v_now - least(t.started_at, v_now) as run,
                t.started_at - least(greatest(t.ready_at, '2000-01-01'), t.started_at) as wait
        ) x
        where t.id = any (_count_attempts.tasks)
    ) a
    group by a.queue, a.job, a.started_at, a.run_bucket, a.wait_bucket;
end;
$$;

comment on function underway._count_attempts(bigint[], text) is
    'Count attempts of these live tasks, which end now with this outcome.';

create or replace function underway._wait_bounds()
returns interval[]
language sql
immutable
begin atomic
    -- Like histogram_bounds, as intervals: a bucket begins just above a bound.
    select array_agg(interval '1 millisecond' * power(2, bound.k) + interval '1 microsecond' order by bound.k)
    from generate_series(0, 26) as bound (k);
end;

comment on function underway._wait_bounds() is 'The bounds of histogram_bounds as intervals.';
