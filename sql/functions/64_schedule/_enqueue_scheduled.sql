-- _enqueue_scheduled: enqueue the task of a schedule for one of its times, which is stored in the task's headers.
--
--   -> pending
--
-- Writes: nothing.
-- Calls: enqueue.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW007 input_too_large, UW016 job_not_found.

create or replace function underway._enqueue_scheduled(
    schedule underway.schedule,
    scheduled_at timestamptz,
    run_at timestamptz
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return underway.enqueue(
        schedule.queue,
        schedule.input,
        job => schedule.job,
        run_at => _enqueue_scheduled.run_at,
        priority => schedule.priority,
        expires => schedule.expires,
        retry_policy => schedule.retry_policy,
        timeout => schedule.timeout,
        heartbeat => schedule.heartbeat,
        retention => schedule.retention,
        headers => coalesce(schedule.headers, '{}') || jsonb_build_object(
            'schedule', schedule.name,
            'scheduled_at',
            to_char(_enqueue_scheduled.scheduled_at at time zone 'UTC', 'FMYYYY-MM-DD"T"HH24:MI:SS"Z"')
        )
    );
end;
$$;

comment on function underway._enqueue_scheduled(underway.schedule, timestamptz, timestamptz) is
    'Enqueue the task of a schedule for one of its times. Returns its id.';
