-- _check_leases: true, or refuse a batch whose tasks and leases do not pair up.
--
-- An SQL function without settings of its own, so that it is put into the expression of its caller: a valid batch calls
-- nothing.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._raise_leases(tasks bigint[], leases uuid[])
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if cardinality(_raise_leases.tasks) is distinct from cardinality(_raise_leases.leases) then
        raise exception using
            errcode = 'UW001',
            message = format(
                '%s tasks and %s leases',
                coalesce(cardinality(_raise_leases.tasks), 0), coalesce(cardinality(_raise_leases.leases), 0)
            ),
            hint = 'Give one lease for each task, in the same order.';
    end if;

    raise exception using
        errcode = 'UW001',
        message = format('the lease of task %s is null',
            _raise_leases.tasks[array_position(_raise_leases.leases, null)]),
        hint = 'Give the lease that dequeue returned with the task.';
end;
$$;

comment on function underway._raise_leases(bigint[], uuid[]) is 'Say what is wrong with the leases of a batch.';

create or replace function underway._check_leases(tasks bigint[], leases uuid[])
returns boolean
language sql
immutable
begin atomic
    select case
        when cardinality(_check_leases.tasks) is distinct from cardinality(_check_leases.leases)
             -- A pending task has no lease: a null must not match it.
             or array_position(_check_leases.leases, null) is not null
            then underway._raise_leases(_check_leases.tasks, _check_leases.leases)
        else true
    end;
end;

comment on function underway._check_leases(bigint[], uuid[]) is
    'True. Refuses a batch whose tasks and leases do not pair up, or where a lease is null.';
