-- _has_ready_key: whether a queue with a rate limit of its keys has a due row in ready_key: a key of which parked tasks
-- may start.
--
-- A function of its own, and not a subquery: a claim from other queues opens no table for it.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._has_ready_key(queue text, now timestamptz)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    return (
        select true
        from underway.ready_key r
        where r.queue = _has_ready_key.queue
          and r.check_at <= _has_ready_key.now
        limit 1
    ) is true;
end;
$$;

comment on function underway._has_ready_key(text, timestamptz) is
    'Whether a queue has a key whose parked tasks may run when it has a token again, by now.';
