-- _open_lane: note that a priority of a queue is in use, so that claims look there; returns from when on a task of it
-- may be ready.
--
-- Writes: lane, floor.

create or replace function underway._ready_from(queue text, priority integer, now timestamptz)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Never below the floor, where no claim looks: the clock may have been put back.
    return greatest(_ready_from.now, (
        select f.ready_at
        from underway.floor f
        where f.queue = _ready_from.queue
          and f.priority = _ready_from.priority
        order by f.noted_by desc
        limit 1
    ));
end;
$$;

comment on function underway._ready_from(text, integer, timestamptz) is
    'From when on a task of a queue and priority may be ready: from now (as _clock_of_writer told), and never before what'
    ' claims have passed. For the queue '''': from when on a lease may last.';

create or replace function underway._open_lane(queue text, priority integer, now timestamptz)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Two transactions may both add the rows; nothing is unique here, so neither waits for the other.
    if not exists (
        select from underway.lane l where l.queue = _open_lane.queue and l.priority = _open_lane.priority
    ) then
        insert into underway.lane (queue, priority) values (_open_lane.queue, _open_lane.priority);
        insert into underway.floor (queue, priority, ready_at, noted_at, noted_by)
        values (_open_lane.queue, _open_lane.priority, '-infinity', '-infinity', pg_current_xact_id());
    end if;

    return underway._ready_from(_open_lane.queue, _open_lane.priority, _open_lane.now);
end;
$$;

comment on function underway._open_lane(text, integer, timestamptz) is
    'Note that a priority of a queue is in use; waits for nobody. Returns from when on a task of it may be ready.';
