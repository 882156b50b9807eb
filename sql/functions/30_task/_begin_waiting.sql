-- _begin_waiting: tasks that the caller has just enqueued wait for something that becomes of a batch.
--
--   pending -> waiting
--
-- Writes: task, parked, follower.

create or replace function underway._begin_waiting(tasks bigint[], batch bigint, event text, fails boolean default false)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    update underway.task t set state = 'waiting', parked = false where t.id = any (_begin_waiting.tasks);
    delete from underway.parked p where p.task = any (_begin_waiting.tasks);

    insert into underway.follower (task, batch, event, fails)
    select waiting.task, _begin_waiting.batch, _begin_waiting.event, _begin_waiting.fails
    from unnest(_begin_waiting.tasks) as waiting (task);
end;
$$;

comment on function underway._begin_waiting(bigint[], bigint, text, boolean) is
    'Let new tasks wait for an event of a batch: success, final or failure; or fail when it will not come by itself.';
