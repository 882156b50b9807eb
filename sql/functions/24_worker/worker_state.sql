-- worker_state: whether a worker is registered and whether it was asked to stop; workers check this every second.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway.worker_state(worker bigint)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(
        (
            select case when w.stop_asked_at is null then 'known' else 'stopping' end
            from underway.worker w
            where w.id = worker_state.worker
        ),
        'unknown'
    );
end;
$$;

comment on function underway.worker_state(bigint) is
    'The state of a worker: known, stopping (it was asked to stop), or unknown (it was removed, and should register again).';
