-- unregister_worker: a worker has stopped.
--
-- Writes: worker.

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

comment on function underway.unregister_worker(bigint) is 'A worker has stopped; what it still holds lapses.';
