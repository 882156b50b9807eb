-- reschedule: change the time at which a pending task becomes ready.
--
-- Writes: task.
-- Calls: _clock, _earliest_ready_at, _raise_wrong_state, _release_slots, _wake.
-- Raises: UW001 invalid_argument, UW004 task_not_found, UW005 wrong_state.

create or replace function underway.reschedule(task bigint, run_at timestamptz)
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
    v_ready_at timestamptz;
    v_expires_at timestamptz;
    v_queue    text;
    v_key      text;
begin
    if reschedule.run_at is null or reschedule.run_at > v_now + interval '100 years' then
        raise exception using
            errcode = 'UW001',
            message = format('run_at is %s', coalesce(reschedule.run_at::text, 'null')),
            hint = 'Give a time within the next 100 years; a time in the past means now.';
    end if;

    select t.expires_at
    into v_expires_at
    from underway.task t
    where t.id = reschedule.task
      and t.state = 'pending'
    for no key update;
    if v_expires_at <= greatest(reschedule.run_at, v_now) then
        raise exception using
            errcode = 'UW001',
            message = format(
                'run_at %s is not before the time at which task %s expires, %s', reschedule.run_at, reschedule.task,
                v_expires_at
            ),
            hint = 'Give an earlier time, or cancel the task and enqueue it again.';
    end if;

    update underway.task t
    set
        parked = false,
        ready_at = greatest(reschedule.run_at, underway._earliest_ready_at(t.queue, t.priority))
    where t.id = reschedule.task
      and t.state = 'pending'
    returning t.queue, t.concurrency_key, t.ready_at into v_queue, v_key, v_ready_at;

    if not found then
        perform underway._raise_wrong_state(reschedule.task, 'can be rescheduled', 'pending');
    end if;

    -- Another task of its key may go first now.
    if v_key is not null then
        perform underway._release_slots(array[v_queue], array[v_key]);
    end if;
    perform underway._wake(v_queue, v_ready_at - v_now);
    return v_ready_at;
end;
$$;

comment on function underway.reschedule(bigint, timestamptz) is
    'Change the time at which a pending task becomes ready; a time in the past means now. Returns the new time.';
