-- _free_keys: what a limit counted has left off running; somebody else may have its place.
--
-- Writes: freed_key.

create or replace function underway._free_keys(queues text[], keys text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A claim that parks a task may not see yet that its key is free, and who frees the key may not see what is parked.
    -- So it is always noted, and a claim that comes after both looks.
    insert into underway.freed_key (queue, concurrency_key)
    select distinct freed.queue, freed.key
    from unnest(_free_keys.queues, _free_keys.keys) as freed (queue, key)
    where freed.key is not null;

    perform underway._wake(freed.queue) from (select distinct unnest(_free_keys.queues)) as freed (queue);
end;
$$;

comment on function underway._free_keys(text[], text[]) is
    'Note that tasks of these queues, each with its key or null, have left off running, and wake idle workers.';
