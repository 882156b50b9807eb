-- _remove_queue: take away the queue itself; its tasks are the caller's concern. Its lanes stay: a task that is being
-- enqueued just now relies on them, and runs when the queue is made anew.
--
-- Writes: queue.

create or replace function underway._remove_queue(name text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from underway.queue q where q.name = _remove_queue.name;
end;
$$;

comment on function underway._remove_queue(text) is
    'Take away a queue; its tasks are the caller''s concern.';
