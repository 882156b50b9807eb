-- worker_state: what a worker has to know of itself, as it looks every second.
--
-- Writes: nothing.

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
    'Whether a worker is known, was asked to stop (stopping), or is unknown: then it was forgotten, and registers again.';
