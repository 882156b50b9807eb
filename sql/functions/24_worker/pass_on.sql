-- pass_on: let other idle workers have the tasks that this worker was notified of, because it has no room for them.
--
-- Two others are drawn, as for a new task. That ends, because each worker that passes on is not idle any more. A worker that
-- stays idle, since it has room for other queues, could be drawn again and again; so it notifies all of them, and those
-- that are not notified alone pass nothing on.
--
-- Writes: nothing.
-- Calls: _wake, set_idle.

create or replace function underway.pass_on(worker bigint, queues text[], stays_idle boolean default false)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if pass_on.stays_idle then
        perform pg_notify('underway_ready', passed.queue)
        from unnest(pass_on.queues) as passed (queue);
    else
        perform underway.set_idle(pass_on.worker, false);
        perform underway._wake(passed.queue)
        from unnest(pass_on.queues) as passed (queue);
    end if;
end;
$$;

comment on function underway.pass_on(bigint, text[], boolean) is
    'Notify other idle workers of the queues, and record that this worker is not idle, unless it stays idle for other queues.'
    ' For a worker that was notified on its own channel: as long as its claims are full, there may be a task of which only it'
    ' knows.';
