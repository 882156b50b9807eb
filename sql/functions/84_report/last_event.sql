-- last_event: the id of the newest event, from which on events_after returns what happens later.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway.last_event()
returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    return coalesce((select max(e.id) from underway.event e), 0);
end;
$$;

comment on function underway.last_event() is 'The id of the newest event that is committed; 0 without any.';
