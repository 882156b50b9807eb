-- _raise_floor: claims have come this far; nothing behind them will ever be pending again.
--
-- A time is over for a lane once every transaction has ended that may still make a task ready before it. Each of those
-- has its id before it looks at the clock (_clock_of_writer). So whoever raises a floor notes a time from before its own
-- id, with that id; when no transaction of that id or a lower one runs any more, all that will yet become ready
-- becomes ready later than the noted time. What was made ready earlier is seen by then, and the oldest of it that is
-- still pending, perhaps because a claim is not committed or was rolled back, bounds the floor too.
--
-- Writes: floor.

create or replace function underway._settled_floor(queue text, priority integer)
returns underway.floor
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_last underway.floor;
begin
    select f.*
    into v_last
    from underway.floor f
    where f.queue = _settled_floor.queue
      and f.priority = _settled_floor.priority
    order by f.noted_by desc
    limit 1;

    -- Volatile, with statements of its own: whoever looks for the oldest task next sees at least what has ended now.
    if v_last.noted_by < pg_snapshot_xmin(pg_current_snapshot()) and v_last.noted_at < underway._began_at() then
        return v_last;
    end if;

    return null;
end;
$$;

comment on function underway._settled_floor(text, integer) is
    'The floor of a lane, with a noted time that is over for all transactions; null while it is not.';

create or replace function underway._raise_floor(last underway.floor, oldest timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into underway.floor (queue, priority, ready_at, noted_at, noted_by)
    values (
        (_raise_floor.last).queue,
        (_raise_floor.last).priority,
        greatest((_raise_floor.last).ready_at, least((_raise_floor.last).noted_at, _raise_floor.oldest)),
        underway._began_at(),
        pg_current_xact_id()
    );

    delete from underway.floor f
    where f.ctid = any (array(
        select earlier.ctid
        from underway.floor earlier
        where earlier.queue = (_raise_floor.last).queue
          and earlier.priority = (_raise_floor.last).priority
          and earlier.noted_by <= (_raise_floor.last).noted_by
        for update skip locked
    ));
end;
$$;

comment on function underway._raise_floor(underway.floor, timestamptz) is
    'Raise a floor to the time noted in the last one, or to the oldest task that is still there; waits for nobody.';
