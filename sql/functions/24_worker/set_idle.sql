-- set_idle: record whether a worker is idle, and that it is alive; enqueueing notifies only idle workers that are.
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
declare
    v_now timestamptz := underway._clock();
begin
    update underway.worker w
    set
        idle = coalesce(set_idle.idle, w.idle),
        seen_at = v_now
    where w.id = set_idle.worker
      and (w.idle <> set_idle.idle or w.seen_at < v_now - interval '10 seconds' or w.seen_at > v_now + interval '1 second');
end;
$$;

comment on function underway.set_idle(bigint, boolean) is
    'Record whether a worker is idle. A worker that is about to sleep calls this first, then checks once more with'
    ' next_wakeup, then waits for a notification. A worker that repeats it is seen thereby.';
