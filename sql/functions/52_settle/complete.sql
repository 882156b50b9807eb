-- complete: the holder reports a task as done. In the handler's own transaction, its writes and the completion commit
-- together.
--
--   in_progress -> succeeded
--
-- Writes: nothing.
-- Calls: _raise_lease_lost, complete_many.
-- Raises: UW001 invalid_argument, UW002 lease_lost.

create or replace function underway.complete(task bigint, lease uuid, output jsonb default null)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from underway.complete_many(array[complete.task], array[complete.lease], array[complete.output]);
    if not found then
        perform underway._raise_lease_lost(complete.task, complete.lease);
    end if;
end;
$$;

comment on function underway.complete(bigint, uuid, jsonb) is
    'Report a task as done, with its output. A lost lease is refused, and aborts the transaction of the caller.';
