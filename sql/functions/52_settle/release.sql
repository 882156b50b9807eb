-- release: the holder gives a task back that it will not run; the attempt does not count.
--
--   in_progress -> pending
--
-- Writes: nothing.
-- Calls: _raise_lease_lost, release_many.
-- Raises: UW001 invalid_argument, UW002 lease_lost.

create or replace function underway.release(task bigint, lease uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from underway.release_many(array[release.task], array[release.lease]);
    if not found then
        perform underway._raise_lease_lost(release.task, release.lease);
    end if;
end;
$$;

comment on function underway.release(bigint, uuid) is
    'Give a task back: it is ready again at once, in its old place, and the attempt does not count.';
