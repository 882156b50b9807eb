-- _count_attempts: record that attempts of live tasks end now, to be counted by maintain(). The caller has locked the tasks.
--
-- Writes: uncounted.
-- Calls: _clock.

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
begin
    insert into underway.uncounted (at, outcome, tasks, queue, job, started_at, ready_at)
    select
        underway._clock(), _count_attempts.outcome, count(*), t.queue, t.job, t.started_at, array_agg(t.ready_at)
    from underway.task t
    where t.id = any (_count_attempts.tasks)
    group by t.queue, t.job, t.started_at;
end;
$$;

comment on function underway._count_attempts(bigint[], text) is
    'Record that attempts of these live tasks end now with this outcome.';
