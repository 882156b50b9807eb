-- snooze: the holder puts a task back for later; the attempt does not count.
--
--   in_progress -> pending
--
-- Writes: task.
-- Raises: UW001 invalid_argument, UW002 lease_lost.

create or replace function underway.snooze(task bigint, lease uuid, delay interval)
returns timestamptz
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now      timestamptz := underway._clock();
    v_snoozed  record;
begin
    if snooze.delay is null then
        raise exception using
            errcode = 'UW001',
            message = 'delay is null',
            hint = 'Say for how long the task is put back, or use underway.release to give it back at once.';
    end if;
    perform underway._check_interval('delay', snooze.delay, '0');

    update underway.task t
    set
        state = 'pending',
        ready_at = greatest(v_now + snooze.delay, underway._earliest_ready_at(t.queue, t.priority)),
        attempt = t.attempt - 1,
        started_at = null,
        lease = null,
        lease_expires_at = null,
        holds_slot = false
    where t.id = snooze.task
      and t.lease = snooze.lease
    returning t.queue, t.ready_at, t.concurrency_key into v_snoozed;

    if not found then
        perform underway._raise_lease_lost(snooze.task, snooze.lease);
    end if;

    perform underway._release_slots(array[v_snoozed.queue], array[v_snoozed.concurrency_key]);
    perform underway._wake(v_snoozed.queue, snooze.delay);
    return v_snoozed.ready_at;
end;
$$;

comment on function underway.snooze(bigint, uuid, interval) is
    'Put a task back for later without using up an attempt. Returns when it will be ready.';
