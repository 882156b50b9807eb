-- _park_new: record new tasks of a fair queue as parked, so that they wait for the turn of their key from the beginning.
--
-- Writes: parked.
-- Calls: _note_free.

create or replace function underway._park_new(tasks bigint[])
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
    v_queue text;
    v_keys  text[];
begin
    with kept as (
        insert into underway.parked (queue, concurrency_key, priority, ready_at, task)
        select t.queue, coalesce(t.concurrency_key, ''), t.priority, t.ready_at, t.id
        from underway.task t
        where t.id = any (_park_new.tasks)
        returning queue, concurrency_key
    )
    select min(k.queue), array_agg(distinct k.concurrency_key) into v_queue, v_keys from kept k;

    perform underway._note_free(v_queue, v_keys);
end;
$$;

comment on function underway._park_new(bigint[]) is
    'Record tasks of one queue that were inserted as parked, and mark their keys as ready to be looked at.';
