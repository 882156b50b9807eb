-- _wake: notify idle workers of a queue that a task is due, or will be due before they check by themselves.
--
-- Problem: a notification that goes to two hundred idle workers makes two hundred claims, of which one finds the task.
-- Idea: where ten or more are idle, two of them are notified, drawn by lot. Two, because one may have crashed a moment ago.
-- If such a worker has no room left, it passes the notification on (pass_on). If both have crashed, the workers that are
-- left find the task by their look once a second.
--
-- Writes: nothing.
-- Calls: _clock.

create or replace function underway._wake(queue text, delay interval default '0')
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now  timestamptz := underway._clock();
    v_idle bigint[];
    v_lot  bigint;
begin
    -- A task that is due in two seconds or later needs no notification: until then, idle workers have checked
    -- (next_wakeup), or another has for them (72_upkeep/_notify_idle_workers.sql).
    if _wake.delay >= '2 seconds' then
        return;
    end if;

    -- A worker that has crashed stays idle in the table, but maintain() no longer updates its seen_at, nor does set_idle;
    -- for the others one of them does it every twenty seconds or less. A seen_at in the future was written while the clock
    -- was ahead.
    select array_agg(w.id)
    into v_idle
    from underway.worker w
    where w.idle
      and w.seen_at between v_now - interval '30 seconds' and v_now + interval '30 seconds'
      and _wake.queue = any (w.queues);

    -- NOTIFY takes a database-wide lock at commit, so it is only sent where it helps.
    if cardinality(v_idle) >= 10 then
        -- A transaction draws the same workers for each of its tasks, so that it notifies them once.
        v_lot := pg_current_xact_id()::text::bigint;
        perform pg_notify('underway_ready_' || drawn.id, _wake.queue)
        from (select w.id from unnest(v_idle) as w (id) order by hashint8extended(w.id, v_lot) limit 2) drawn;
    elsif v_idle is not null then
        perform pg_notify('underway_ready', _wake.queue);
    end if;
end;
$$;

comment on function underway._wake(text, interval) is
    'Notify the idle workers of a queue that a task is due within two seconds; where ten or more are idle, two of them.'
    ' A transaction sends the same notification once.';
