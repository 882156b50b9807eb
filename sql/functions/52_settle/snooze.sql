-- snooze: the holder puts a task back for later; the attempt does not count.
--
--   in_progress -> pending
--
-- Writes: nothing.
-- Calls: _check_interval, _clock, _lock_held, _raise_lease_lost, _requeue.
-- Raises: UW001 invalid_argument, UW002 lease_lost.

create or replace function underway.snooze(task bigint, lease uuid, delay interval)
returns timestamptz
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ready_at timestamptz;
begin
    if snooze.delay is null then
        raise exception using
            errcode = 'UW001',
            message = 'delay is null',
            hint = 'Give the time until the task is ready again, or use underway.release to give it back at once.';
    end if;
    perform underway._check_interval('delay', snooze.delay, '0');

    select snoozed.ready_at
    into v_ready_at
    from underway._requeue(
        underway._lock_held(array[snooze.task], array[snooze.lease]),
        array[case when snooze.delay > '0' then underway._clock() + snooze.delay end]
    ) snoozed;

    if not found then
        perform underway._raise_lease_lost(snooze.task, snooze.lease);
    end if;

    return v_ready_at;
end;
$$;

comment on function underway.snooze(bigint, uuid, interval) is
    'Put a task back for later without using up an attempt; without a delay it keeps its place. Returns when it will be'
    ' ready.';
