-- release_many: the holder gives tasks back that it will not run; their attempts do not count.
--
--   in_progress -> pending
--
-- Writes: nothing.
-- Calls: _check_leases, _lock_held, _requeue.
-- Raises: UW001 invalid_argument.

create or replace function underway.release_many(tasks bigint[], leases uuid[])
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform underway._check_leases(release_many.tasks, release_many.leases);

    return query
    select released.id
    from underway._requeue(underway._lock_held(release_many.tasks, release_many.leases)) released;
end;
$$;

comment on function underway.release_many(bigint[], uuid[]) is
    'Give a batch of tasks back to their old places, each under its lease, without using up an attempt. Returns the ids that'
    ' were given back; the leases of the others are lost.';
