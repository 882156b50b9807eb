-- _queue_room: how many tasks the limits of a queue allow to claim now, and when the next.
--
-- Writes: nothing.

create or replace function underway._queue_room(queue underway.queue, now timestamptz)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_room integer := 2147483647;
begin
    if (_queue_room.queue).max_running is not null then
        v_room := (_queue_room.queue).max_running - (
            select count(*)
            from (
                select
                from underway.running r
                where r.queue = (_queue_room.queue).name
                limit (_queue_room.queue).max_running
            ) running
        );
    end if;

    if (_queue_room.queue).rate_limit is not null then
        v_room := least(v_room, floor(underway._tokens(_queue_room.queue, _queue_room.now)));
    end if;

    return v_room;
end;
$$;

comment on function underway._queue_room(underway.queue, timestamptz) is
    'How many tasks the limits of a queue allow to claim now, its keys apart.';

create or replace function underway._open_at(queue underway.queue, now timestamptz)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_token_at timestamptz;
begin
    -- Somebody else may be claiming from the queue at this moment: nobody looks again without a rest.
    if underway._queue_room(_open_at.queue, _open_at.now) > 0 then
        return _open_at.now + interval '10 milliseconds';
    end if;

    -- Tokens come by themselves; who leaves off running calls.
    if (_open_at.queue).rate_limit is not null then
        v_token_at := underway._token_at(_open_at.queue, _open_at.now);
        if v_token_at > _open_at.now then
            return greatest(v_token_at, _open_at.now + interval '10 milliseconds');
        end if;
    end if;

    return 'infinity';
end;
$$;

comment on function underway._open_at(underway.queue, timestamptz) is
    'When the limits of a queue allow the next claim, as far as that is known; infinity is when somebody calls.';
