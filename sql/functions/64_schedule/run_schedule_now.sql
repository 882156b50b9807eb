-- run_schedule_now: enqueue the task of a schedule now, also while it is paused. Its times do not change.
--
--   -> pending
--
-- Writes: schedule.
-- Calls: _clock, _enqueue_scheduled, _lock_schedule, _raise_schedule_not_found.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW007 input_too_large, UW009 schedule_not_found, UW016 job_not_found.

create or replace function underway.run_schedule_now(name text)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now      timestamptz;
    v_schedule underway.schedule;
    v_task     bigint;
begin
    v_schedule := underway._lock_schedule(run_schedule_now.name);

    if v_schedule.name is null then
        perform underway._raise_schedule_not_found(run_schedule_now.name);
    end if;

    v_now := underway._clock();
    v_task := underway._enqueue_scheduled(v_schedule, v_now, v_now);

    update underway.schedule s set last_task = v_task where s.name = run_schedule_now.name;

    return v_task;
end;
$$;

comment on function underway.run_schedule_now(text) is
    'Enqueue the task of a schedule now, also while it is paused; its times do not change. Returns the id of the task.';
