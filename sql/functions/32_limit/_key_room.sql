-- _key_room: how many more tasks of a key may run now.
--
-- Writes: nothing.

create or replace function underway._key_room(queue underway.queue, key text, now timestamptz)
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
    -- Tasks without a key, which stand in line with the others in a fair queue.
    if _key_room.key = '' then
        return 2147483647;
    end if;

    if exists (
        select
        from underway.paused_key p
        where p.queue = (_key_room.queue).name
          and p.concurrency_key = _key_room.key
    ) then
        return 0;
    end if;

    return greatest(0, least(
        (_key_room.queue).max_running_per_key - (
            select count(*)
            from (
                select
                from underway.running r
                where r.queue = (_key_room.queue).name
                  and r.concurrency_key = _key_room.key
                limit (_key_room.queue).max_running_per_key
            ) running
        ),
        case when (_key_room.queue).rate_limit_per_key is not null then
            floor(underway._tokens(_key_room.queue, _key_room.now, _key_room.key))
        end
    ));
end;
$$;

comment on function underway._key_room(underway.queue, text, timestamptz) is 'How many more tasks of a key may run now.';
