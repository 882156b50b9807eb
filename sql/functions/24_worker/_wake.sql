-- _wake: notify the idle workers of a queue that a task is due, or will be due before they check by themselves.
--
-- Writes: nothing.
-- Calls: _clock.

create or replace function underway._wake(queue text, delay interval default '0')
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- NOTIFY takes a database-wide lock at commit, so it is only sent where it helps. A task that is due in two seconds or
    -- later needs none: until then, idle workers have checked (next_wakeup), or another has for them
    -- (72_upkeep/_notify_idle_workers.sql). Nor does a worker that has crashed: it stays idle in the table, but maintain()
    -- no longer updates its seen_at, nor does set_idle; for the others one of them does it every twenty seconds or less.
    -- A seen_at in the future was written while the clock was ahead.
    if _wake.delay < '2 seconds'
       and exists (
           select
           from underway.worker w
           where w.idle
             and _wake.queue = any (w.queues)
             and w.seen_at between underway._clock() - interval '30 seconds' and underway._clock() + interval '30 seconds'
       ) then
        perform pg_notify('underway_ready', _wake.queue);
    end if;
end;
$$;

comment on function underway._wake(text, interval) is
    'Notify the idle workers of a queue that a task is due within two seconds. A transaction sends one notification per queue.';
