-- _count_running: tasks that a claim takes are counted by the limits.
--
-- Writes: running, parked.

create or replace function underway._count_running(
    queue underway.queue,
    tasks underway.seen_task[],
    now timestamptz
)
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
    insert into underway.running (queue, concurrency_key, task)
    select (_count_running.queue).name, coalesce(t.key, ''), t.id
    from unnest(_count_running.tasks) t;

    delete from underway.parked p where p.task = any (array(select t.id from unnest(_count_running.tasks) t));

    if (_count_running.queue).rate_limit_per_key is not null then
        perform underway._take_tokens(_count_running.queue, _count_running.now, taken.tasks::integer, taken.key)
        from (
            select t.key, count(*) as tasks
            from unnest(_count_running.tasks) t
            where t.key is not null
            group by t.key
        ) taken;
    end if;
end;
$$;

comment on function underway._count_running(underway.queue, underway.seen_task[], timestamptz) is
    'Count tasks that the caller has locked and claims as running, and no longer as parked.';
