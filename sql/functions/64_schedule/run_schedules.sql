-- run_schedules: enqueue the tasks of all due schedules.
--
-- The update of a schedule's next time and its task commit together, so each time of each schedule gives exactly one
-- task, however many sessions run this at once.
--
--   -> pending
--
-- Writes: schedule.
-- Calls: _clock, _cron_previous, _enqueue_scheduled, _error, _next_time, _read_cron, _record_event.

create or replace function underway._run_schedule(schedule underway.schedule, now timestamptz)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_cron       underway.cron := underway._read_cron(schedule.cron, schedule.anchored_at);
    -- A time is missed if no session ran the schedule for a minute after it.
    v_missed_at  timestamptz := _run_schedule.now - interval '1 minute';
    v_previous   timestamptz;
    v_next_at    timestamptz := schedule.next_at;
    v_last_at    timestamptz := schedule.last_at;
    v_last_task  bigint := schedule.last_task;
    v_count      integer := 0;
    v_skipped    integer := 0;
    v_skipped_at timestamptz;
begin
    if v_next_at <= v_missed_at then
        -- Find the first of the missed times to catch up: of the latest one, of the latest catch_up_limit, or none.
        v_next_at := null;
        v_previous := least(v_missed_at, schedule.ends_at);
        for v_number in 1..case schedule.catch_up when 'skip' then 0 when 'once' then 1 else schedule.catch_up_limit end
        loop
            v_previous := underway._cron_previous(
                v_cron, schedule.time_zone, schedule.next_at - interval '1 microsecond', v_previous
            );
            exit when v_previous is null;
            v_next_at := v_previous;
            v_previous := v_previous - interval '1 microsecond';
        end loop;
        if v_next_at is null then
            v_next_at := underway._next_time(v_cron, schedule.time_zone, v_missed_at, null, schedule.ends_at);
        end if;

        -- Count at most a hundred of the times that are not caught up.
        v_skipped_at := schedule.next_at;
        while v_skipped < 100 and v_skipped_at <= v_missed_at and (v_skipped_at < v_next_at) is not false loop
            v_skipped := v_skipped + 1;
            v_skipped_at := underway._next_time(v_cron, schedule.time_zone, v_skipped_at, null, schedule.ends_at);
        end loop;
        if v_skipped > 0 then
            perform underway._record_event(
                'schedule_missed', schedule.queue, schedule.job, details => jsonb_build_object(
                    'schedule', schedule.name, 'skipped', v_skipped, 'first_at', schedule.next_at
                )
            );
        end if;
    end if;

    while v_next_at <= _run_schedule.now loop
        if schedule.overlap = 'allow'
           or not exists (select from underway.task t where t.id = v_last_task)
        then
            v_last_task := underway._enqueue_scheduled(
                schedule, v_next_at, v_next_at + random() * schedule.jitter
            );
            v_last_at := v_next_at;
            v_count := v_count + 1;
        end if;
        v_next_at := underway._next_time(v_cron, schedule.time_zone, v_next_at, null, schedule.ends_at);
    end loop;

    update underway.schedule s
    set
        next_at = v_next_at,
        check_at = v_next_at,
        last_at = v_last_at,
        last_task = v_last_task,
        last_error = null,
        last_error_at = null
    where s.name = schedule.name;

    return v_count;
end;
$$;

comment on function underway._run_schedule(underway.schedule, timestamptz) is
    'Enqueue the due times of one schedule, whose row the caller has locked. Returns the number of tasks.';

create or replace function underway.run_schedules()
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now      timestamptz := underway._clock();
    v_schedule underway.schedule;
    v_count    integer := 0;
    v_sqlstate text;
    v_message  text;
    v_hint     text;
begin
    for v_schedule in
        select s.*
        from underway.schedule s
        where s.check_at <= v_now
        order by s.check_at
        limit 1000
        for no key update skip locked
    loop
        begin
            v_count := v_count + underway._run_schedule(v_schedule, v_now);
        exception
            -- Only errors of the schedule itself, such as a dropped queue or a wrong value: retry it until it is fixed.
            when sqlstate 'UW000' or data_exception or integrity_constraint_violation or raise_exception then
                get stacked diagnostics
                    v_sqlstate = returned_sqlstate, v_message = message_text, v_hint = pg_exception_hint;
                update underway.schedule s
                set
                    last_error = underway._error(
                        jsonb_build_object('type', v_sqlstate, 'message', v_message, 'hint', v_hint)
                    ),
                    last_error_at = v_now,
                    check_at = v_now + interval '10 seconds'
                where s.name = v_schedule.name;
                -- It is retried every ten seconds; only a new error is an event.
                if v_message is distinct from v_schedule.last_error ->> 'message' then
                    perform underway._record_event(
                        'schedule_failed', v_schedule.queue, v_schedule.job, details => jsonb_build_object(
                            'schedule', v_schedule.name, 'type', v_sqlstate, 'message', left(v_message, 200)
                        )
                    );
                end if;
        end;
        -- After an outage there may be many missed times. The next call continues, so that maintain() is not held up.
        exit when v_count >= 1000;
    end loop;

    return v_count;
end;
$$;

comment on function underway.run_schedules() is
    'Enqueue the tasks of all due schedules, except those that another session is running. Returns the number of tasks.'
    ' Part of maintain().';
