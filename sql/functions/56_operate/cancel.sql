-- cancel: end a live task, running or not. The holder of a running task loses its lease.
--
--   pending | waiting | in_progress -> cancelled
--
-- Writes: nothing.
-- Calls: _conclude.

create or replace function underway.cancel(task bigint)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_lease uuid;
begin
    select t.lease into v_lease from underway.task t where t.id = cancel.task for update;
    if not found then
        return false;
    end if;

    perform underway._conclude(array[cancel.task], null, 'cancelled');

    -- A hint: the next heartbeat of the holder reports the loss in any case.
    if v_lease is not null then
        perform pg_notify('underway_cancelled', cancel.task::text);
    end if;

    return true;
end;
$$;

comment on function underway.cancel(bigint) is
    'Cancel a live task at once. Returns whether something changed: false for a task that is final or unknown.';
