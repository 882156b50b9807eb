-- unregister_worker: remove a worker that has stopped from the list of workers.
--
-- Writes: worker.
-- Calls: nothing.

create or replace function underway.unregister_worker(worker bigint)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from underway.worker w where w.id = unregister_worker.worker;
end;
$$;

comment on function underway.unregister_worker(bigint) is
    'Remove a worker that has stopped. Tasks that it still holds are reclaimed when their leases lapse.';
