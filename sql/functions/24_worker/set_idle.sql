-- set_idle: a worker says whether it sleeps; only then does an enqueue notify it.
--
-- Writes: worker.

create or replace function underway.set_idle(worker bigint, idle boolean)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update underway.worker w
    set idle = set_idle.idle
    where w.id = set_idle.worker
      and w.idle <> set_idle.idle;
end;
$$;

comment on function underway.set_idle(bigint, boolean) is
    'Say whether a worker sleeps. Say it, then look once more (next_wakeup), then sleep on the channel underway_ready.';
