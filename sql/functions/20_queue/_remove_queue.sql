-- _remove_queue: take away the queue itself; its tasks are the caller's concern.
--
-- Writes: queue, lane.

create or replace function underway._remove_queue(name text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from underway.lane l where l.queue = _remove_queue.name;
    delete from underway.queue q where q.name = _remove_queue.name;
end;
$$;

comment on function underway._remove_queue(text) is
    'Take away a queue and its priorities; its tasks are the caller''s concern.';
