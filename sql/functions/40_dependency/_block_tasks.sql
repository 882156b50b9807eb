-- _block_tasks: let tasks that the caller has just enqueued wait for an event of a batch.
--
--   pending -> waiting
--
-- Writes: task, dependent.
-- Calls: nothing.

create or replace function underway._block_tasks(
    tasks bigint[], batch bigint, event text, fails_with_batch boolean default false
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
    update underway.task t set state = 'waiting', parked = false where t.id = any (_block_tasks.tasks);

    insert into underway.dependent (task, batch, event, fails_with_batch)
    select waiting.task, _block_tasks.batch, _block_tasks.event, _block_tasks.fails_with_batch
    from unnest(_block_tasks.tasks) as waiting (task);
end;
$$;

comment on function underway._block_tasks(bigint[], bigint, text, boolean) is
    'Let new tasks wait for an event of a batch: success, final or failure; with fails_with_batch they fail as soon as a'
    ' task of the batch does not succeed.';
