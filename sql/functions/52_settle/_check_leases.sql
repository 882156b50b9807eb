-- _check_leases: refuse a batch whose tasks and leases do not pair up.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._check_leases(tasks bigint[], leases uuid[])
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if cardinality(_check_leases.tasks) is distinct from cardinality(_check_leases.leases) then
        raise exception using
            errcode = 'UW001',
            message = format(
                '%s tasks and %s leases',
                coalesce(cardinality(_check_leases.tasks), 0), coalesce(cardinality(_check_leases.leases), 0)
            ),
            hint = 'Give one lease for each task, in the same order.';
    end if;

    -- A pending task has no lease: a null must not match it.
    if array_position(_check_leases.leases, null) is not null then
        raise exception using
            errcode = 'UW001',
            message = format('the lease of task %s is null',
                _check_leases.tasks[array_position(_check_leases.leases, null)]),
            hint = 'Give the lease that dequeue returned with the task.';
    end if;
end;
$$;

comment on function underway._check_leases(bigint[], uuid[]) is
    'Refuse a batch whose tasks and leases do not pair up, or where a lease is null.';
