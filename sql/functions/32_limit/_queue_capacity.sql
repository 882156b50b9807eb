-- _queue_capacity: how many tasks max_running and rate_limit of a queue allow to claim now.
--
-- Writes: nothing.
-- Calls: _available_tokens, _next_token_at.

create or replace function underway._queue_capacity(queue underway.queue, now timestamptz)
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
    v_capacity integer := 2147483647;
begin
    if (_queue_capacity.queue).max_running is not null then
        v_capacity := (_queue_capacity.queue).max_running - (
            select count(*)
            from (
                select
                from underway.task t
                where t.queue = (_queue_capacity.queue).name
                  and t.holds_slot
                limit (_queue_capacity.queue).max_running
            ) running
        );
    end if;

    if (_queue_capacity.queue).rate_limit is not null then
        v_capacity := least(v_capacity, floor(underway._available_tokens(_queue_capacity.queue, _queue_capacity.now)));
    end if;

    return v_capacity;
end;
$$;

comment on function underway._queue_capacity(underway.queue, timestamptz) is
    'How many tasks the limits of a queue, its keys aside, allow to claim now.';

create or replace function underway._capacity_at(queue underway.queue, now timestamptz)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_token_at timestamptz;
begin
    -- Another session may be claiming from the queue at this moment, so nobody looks again without a pause.
    if underway._queue_capacity(_capacity_at.queue, _capacity_at.now) > 0 then
        return _capacity_at.now + interval '10 milliseconds';
    end if;

    -- Tokens refill with time. A freed slot sends a notification, so no timer is needed for it.
    if (_capacity_at.queue).rate_limit is not null then
        v_token_at := underway._next_token_at(_capacity_at.queue, _capacity_at.now);
        if v_token_at > _capacity_at.now then
            return greatest(v_token_at, _capacity_at.now + interval '10 milliseconds');
        end if;
    end if;

    return 'infinity';
end;
$$;

comment on function underway._capacity_at(underway.queue, timestamptz) is
    'The earliest time at which the limits of a queue allow a claim; infinity if that depends on a running task.';
