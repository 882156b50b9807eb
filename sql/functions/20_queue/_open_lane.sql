-- _open_lane: note that a priority of a queue is in use, so that claims look there.
--
-- Writes: lane.

create or replace function underway._open_lane(queue text, priority integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Two transactions may both add the row; nothing is unique here, so neither waits for the other.
    if not exists (
        select from underway.lane l where l.queue = _open_lane.queue and l.priority = _open_lane.priority
    ) then
        insert into underway.lane (queue, priority) values (_open_lane.queue, _open_lane.priority);
    end if;
end;
$$;

comment on function underway._open_lane(text, integer) is
    'Note that a priority of a queue is in use; waits for nobody.';
