-- _wake: tell the idle workers of a queue that a task is ready, or will be before they look again by themselves.
--
-- Writes: nothing.

create or replace function underway._wake(queue text, delay interval default '0')
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- An idle worker looks every second (next_wakeup): what is due later than that needs no call. A NOTIFY takes a
    -- lock over the whole database at commit, so there is none while nobody sleeps.
    if _wake.delay < '1 second'
       and exists (select from underway.worker w where w.idle and _wake.queue = any(w.queues)) then
        perform pg_notify('underway_ready', _wake.queue);
    end if;
end;
$$;

comment on function underway._wake(text, interval) is
    'Notify the idle workers of a queue of a task that is due within a second; once in a transaction.';
