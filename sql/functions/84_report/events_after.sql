-- events_after: the events after an id, the oldest first.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway.events_after(
    after bigint default null,
    kinds text[] default null,
    max_events integer default 1000
)
returns setof underway.event
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    if (events_after.max_events between 1 and 10000) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('max_events is %s', coalesce(events_after.max_events::text, 'null')),
            hint = 'Give a number from 1 to 10000.';
    end if;

    return query
    select e.*
    from underway.event e
    where e.id > events_after.after
      and (events_after.kinds is null or e.kind = any (events_after.kinds))
    order by e.id
    limit events_after.max_events;
end;
$$;

comment on function underway.events_after(bigint, text[], integer) is
    'At most max_events events with an id above after, of all kinds or of some, the oldest first; none if after is'
    ' null. Begin with last_event(). Transactions may commit in another order than that of their ids: a reader that'
    ' must not miss an event reads the last minute again, and skips the ids that it has seen. Events are kept for'
    ' seven days.';
