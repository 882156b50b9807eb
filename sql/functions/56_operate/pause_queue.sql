-- pause_queue: from now on nobody claims from the queue; what runs, runs on.
--
-- Writes: queue.
-- Raises: UW003 queue_not_found.

create or replace function underway.pause_queue(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update underway.queue q
    set paused_at = underway._clock()
    where q.name = pause_queue.name
      and q.paused_at is null;

    if found then
        return true;
    end if;

    if not exists (select from underway.queue q where q.name = pause_queue.name) then
        perform underway._raise_queue_not_found(pause_queue.name);
    end if;

    return false;
end;
$$;

comment on function underway.pause_queue(text) is
    'Stop claims from a queue, for all workers at once. Returns whether it was running.';
