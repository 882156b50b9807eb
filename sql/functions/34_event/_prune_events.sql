-- _prune_events: remove events that are older than seven days, and records of actions that are older than ninety.
--
-- Writes: event, audit.
-- Calls: _clock.

create or replace function underway._prune_events(max_rows integer default 10000)
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
    v_now    timestamptz := underway._clock();
    v_events integer;
    v_audit  integer;
begin
    -- The first rows by id are the oldest, except for those of transactions that ran at the same time.
    delete from underway.event e
    where e.id = any (array(
        select old.id
        from (
            select one.id, one.at
            from underway.event one
            order by one.id
            limit _prune_events.max_rows
            for update skip locked
        ) old
        where old.at < v_now - interval '7 days'
    ));
    get diagnostics v_events = row_count;

    delete from underway.audit a
    where a.id = any (array(
        select old.id
        from (
            select one.id, one.at
            from underway.audit one
            order by one.id
            limit _prune_events.max_rows
            for update skip locked
        ) old
        where old.at < v_now - interval '90 days'
    ));
    get diagnostics v_audit = row_count;

    return v_events + v_audit;
end;
$$;

comment on function underway._prune_events(integer) is
    'Remove at most max_rows events and as many records of actions whose time is over. Returns how many rows there were.';
