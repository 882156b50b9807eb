-- _attempt_settings: what the jobs of these tasks set for an attempt, in the order of the tasks; null where they set nothing.
--
-- One look-up for each task. A claim calls it only while any job has such a setting.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._attempt_settings(tasks tid[])
returns underway.attempt_settings[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
begin
    return array(
        select row(j.timeout, j.heartbeat, (j.retry_policy).max_attempts)::underway.attempt_settings
        from unnest(_attempt_settings.tasks) with ordinality as locked (ctid, number)
        join underway.task t on t.ctid = locked.ctid
        left join underway.job j on j.name = t.job
        order by locked.number
    );
end;
$$;

comment on function underway._attempt_settings(tid[]) is
    'The timeout, the heartbeat and the number of attempts that the jobs of these tasks have, in the order of the tasks, which'
    ' the caller has locked.';
