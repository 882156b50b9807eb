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
    insert into underway.uncounted (at, outcome, tasks, others)
    select
        underway._clock(), _count_attempts.outcome, count(*),
        array_agg(row(t.started_at, t.ready_at, t.queue, t.job)::underway.ended_attempt)
    from underway.task t
    where t.id = any (_count_attempts.tasks)
    having count(*) > 0;
end;
$$;

comment on function underway._count_attempts(bigint[], text) is
    'Record that attempts of these live tasks end now with this outcome.';
