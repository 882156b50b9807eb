-- _lock_held: lock the tasks that are still held under these leases, in the order of their ids.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._lock_held(tasks bigint[], leases uuid[])
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    return array(
        select t.id
        from (
            select distinct batch.task, batch.lease
            from unnest(_lock_held.tasks, _lock_held.leases) as batch (task, lease)
            order by batch.task
        ) given
        cross join lateral (
            -- The limit keeps this a look-up for each row of the batch under a generic plan.
            select held.id
            from underway.task held
            where held.id = given.task
              and held.lease = given.lease
            limit 1
            for no key update
        ) t
    );
end;
$$;

comment on function underway._lock_held(bigint[], uuid[]) is
    'Lock the tasks that are still held under these leases. Returns their ids, each once.';
