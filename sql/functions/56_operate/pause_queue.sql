-- pause_queue: stop claims from a queue. Once this has committed, no worker receives a task of the queue; running tasks
-- continue. It waits for transactions that have claimed from the queue and are still open; new claims skip the queue
-- while it waits.
--
-- Writes: queue.
-- Calls: _clock, _lock_claims, _raise_queue_not_found.
-- Raises: UW003 queue_not_found.

create or replace function underway.pause_queue(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform underway._lock_claims(pause_queue.name);

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
    'Stop claims from a queue, for all workers; running tasks continue. Waits for transactions that have claimed from it.'
    ' Returns whether the queue was not paused before.';
