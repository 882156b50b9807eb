-- set_idle: record whether a worker is idle; enqueueing notifies only idle workers.
--
-- Writes: worker.
-- Calls: _clock.

create or replace function underway.set_idle(worker bigint, idle boolean)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update underway.worker w
    set
        idle = set_idle.idle,
        seen_at = underway._clock()
    where w.id = set_idle.worker
      and w.idle <> set_idle.idle;
end;
$$;

comment on function underway.set_idle(bigint, boolean) is
    'Record whether a worker is idle. A worker that is about to sleep calls this first, then checks once more with'
    ' next_wakeup, then waits for a notification on the channel underway_ready.';
