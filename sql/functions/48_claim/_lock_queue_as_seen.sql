-- _lock_queue_as_seen: lock the row of a queue for a claim in a repeatable read transaction, if nothing has changed it since.
--
-- Such a claim sees the settings of its snapshot. Where the queue has changed since, by a limit or a pause, the lock fails
-- with a serialization error. Where another transaction is just changing it, nothing is locked.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._lock_queue_as_seen(queue text)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from underway.queue q where q.name = _lock_queue_as_seen.queue for share skip locked;
    return found;
end;
$$;

comment on function underway._lock_queue_as_seen(text) is
    'Lock the row of a queue as this transaction sees it. Returns whether it is locked; waits for nobody.';
