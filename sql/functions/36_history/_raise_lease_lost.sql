-- _raise_lease_lost: refuse a holder that has lost its lease, with the state of the task.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW002 lease_lost.

create or replace function underway._raise_lease_lost(task bigint, lease uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    v_state text;
begin
    select t.state into v_state from underway.task t where t.id = _raise_lease_lost.task;
    if not found then
        select h.state into v_state from underway.task_history h where h.id = _raise_lease_lost.task;
    end if;

    raise exception using
        errcode = 'UW002',
        message = format(
            'task %s is not held under lease %s; it is %s',
            _raise_lease_lost.task, _raise_lease_lost.lease, coalesce(v_state, 'unknown')
        ),
        hint = 'The lease lapsed, or the task was settled or cancelled; drop this result.';
end;
$$;

comment on function underway._raise_lease_lost(bigint, uuid) is
    'Refuse a holder that has lost its lease, with the state that the task has now.';
