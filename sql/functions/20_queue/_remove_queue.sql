-- _remove_queue: delete the row of a queue. The caller deals with its tasks. Its priorities and watermarks stay until
-- _finish_drops: an enqueue that is under way may still rely on them.
--
-- Writes: queue.
-- Calls: nothing.

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

comment on function underway._remove_queue(text) is 'Delete the row of a queue. The caller deals with its tasks.';
