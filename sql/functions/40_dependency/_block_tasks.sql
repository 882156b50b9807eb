-- _block_tasks: tasks that the caller has just enqueued wait for something that becomes of a batch.
--
--   pending -> waiting
--
-- Writes: task, dependent.

create or replace function underway._block_tasks(tasks bigint[], batch bigint, event text, fails boolean default false)
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
    update underway.task t set state = 'waiting', parked = false where t.id = any (_block_tasks.tasks);

    insert into underway.dependent (task, batch, event, fails)
    select waiting.task, _block_tasks.batch, _block_tasks.event, _block_tasks.fails
    from unnest(_block_tasks.tasks) as waiting (task);
end;
$$;

comment on function underway._block_tasks(bigint[], bigint, text, boolean) is
    'Let new tasks wait for an event of a batch: success, final or failure; or fail when it will not come by itself.';
