-- _free_keys: tasks that a limit counted have left off running, or do not wait for their key any more; somebody else may
-- have their place.
--
-- Writes: running, parked, ready_key.

create or replace function underway._free_keys(tasks bigint[], queues text[], keys text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on -- off where tasks are settled
set jit = off
as $$
begin
    delete from underway.running r
    where r.ctid = any (array(
        select counted.ctid
        from unnest(_free_keys.tasks, _free_keys.queues, _free_keys.keys) as freed (task, queue, key)
        cross join lateral (
            select one.ctid
            from underway.running one
            where one.queue = freed.queue
              and one.concurrency_key = coalesce(freed.key, '')
              and one.task = freed.task
            limit 1
        ) counted
    ));

    delete from underway.parked p where p.task = any (_free_keys.tasks);

    -- A claim that parks a task may not see yet that its key is free, and who frees the key may not see what is parked.
    -- So it is always noted, and a claim that comes after both looks.
    insert into underway.ready_key (queue, concurrency_key)
    select distinct freed.queue, freed.key
    from unnest(_free_keys.queues, _free_keys.keys) as freed (queue, key)
    where freed.key is not null;

    perform underway._wake(freed.queue) from (select distinct unnest(_free_keys.queues)) as freed (queue);
end;
$$;

comment on function underway._free_keys(bigint[], text[], text[]) is
    'Tasks of these queues, each with its key or null, do not count any more: note it, and wake idle workers.';
