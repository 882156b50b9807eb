-- _key_turns: how many more tasks of a key may run that are not parked.
--
-- Writes: nothing.

create or replace function underway._key_turns(
    lane underway.queue_priority,
    queue underway.queue,
    key text,
    now timestamptz
)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    if (_key_turns.queue).fair or exists (
        select
        from underway.parked p
        where p.queue = (_key_turns.queue).name
          and p.concurrency_key = _key_turns.key
          and p.priority >= (_key_turns.lane).priority
    ) then
        return 0;
    end if;

    return underway._key_room(_key_turns.queue, _key_turns.key, _key_turns.now);
end;
$$;

comment on function underway._key_turns(underway.queue_priority, underway.queue, text, timestamptz) is
    'How many more tasks of a key may run that are not parked: none while a parked one comes first, or in a fair queue.';
