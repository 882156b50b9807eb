-- schedule: create a schedule or replace the one of this name. A change takes effect within a second.
--
-- Writes: schedule.
-- Calls: _check_inputs, _check_interval, _check_options, _clock, _lock_schedule, _next_time, _read_cron, _split_cron.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW007 input_too_large, UW008 invalid_cron, UW016 job_not_found.

create or replace function underway._check_schedule(schedule underway.schedule)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_options underway.task_options;
begin
    if schedule.name is null or schedule.name !~ '^[^[:space:][:cntrl:]]([^[:cntrl:]]{0,126}[^[:space:][:cntrl:]])?$' then
        raise exception using
            errcode = 'UW001',
            message = format('%L cannot be the name of a schedule', schedule.name),
            hint = 'Give 1 to 128 printable characters, without blanks at either end.';
    end if;
    if (schedule.catch_up in ('skip', 'once', 'all')) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('catch_up is %L', schedule.catch_up),
            hint = 'Give ''skip'' to skip missed times, ''once'' to enqueue the latest, or ''all'' to enqueue up to'
                ' catch_up_limit of them.';
    end if;
    if (schedule.catch_up_limit between 1 and 1000) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('catch_up_limit is %s', coalesce(schedule.catch_up_limit::text, 'null')),
            hint = 'Give a number from 1 to 1000.';
    end if;
    if (schedule.overlap in ('allow', 'skip')) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('overlap is %L', schedule.overlap),
            hint = 'Give ''allow'', or ''skip'' to skip a time while the previous task is live.';
    end if;
    if schedule.jitter is null then
        raise exception using
            errcode = 'UW001',
            message = 'jitter is null',
            hint = 'Omit it for no jitter.';
    end if;
    if schedule.starts_at >= '9900-01-01 00:00:00+00' then
        raise exception using
            errcode = 'UW001',
            message = format('starts_at is %s', schedule.starts_at),
            hint = 'Give a time before the year 9900.';
    end if;
    if schedule.starts_at > schedule.ends_at then
        raise exception using
            errcode = 'UW001',
            message = format('starts_at %s is after ends_at %s', schedule.starts_at, schedule.ends_at),
            hint = 'Give an end after the start.';
    end if;
    perform underway._check_interval('jitter', schedule.jitter, '0');
    v_options.priority := coalesce(schedule.priority, 0);
    v_options.expires := schedule.expires;
    v_options.retry_policy := schedule.retry_policy;
    v_options.timeout := schedule.timeout;
    v_options.heartbeat := schedule.heartbeat;
    v_options.retention := schedule.retention;
    v_options.headers := schedule.headers;
    v_options.job := schedule.job;
    perform underway._check_options(
        coalesce(schedule.queue, (select j.queue from underway.job j where j.name = schedule.job)), v_options,
        underway._clock()
    );
    perform underway._check_inputs(array[schedule.input]);
end;
$$;

comment on function underway._check_schedule(underway.schedule) is
    'Refuse a schedule whose settings are invalid. The cron expression is checked elsewhere.';

create or replace function underway.schedule(
    name text,
    queue text,
    cron text,
    time_zone text default null,
    input jsonb default '{}',
    job text default null,
    priority integer default null,
    expires interval default null,
    retry_policy underway.retry_policy default null,
    timeout interval default null,
    heartbeat interval default null,
    retention interval default null,
    headers jsonb default null,
    catch_up text default 'once',
    catch_up_limit integer default 100,
    overlap text default 'allow',
    jitter interval default '0',
    starts_at timestamptz default null,
    ends_at timestamptz default null,
    owner text default null
)
returns timestamptz
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now  timestamptz;
    v_cron underway.cron;
    v_old  underway.schedule;
    v_new  underway.schedule;
begin
    v_new.name := schedule.name;
    v_new.queue := schedule.queue;
    v_new.job := schedule.job;
    v_new.input := schedule.input;
    v_new.priority := schedule.priority;
    v_new.expires := schedule.expires;
    v_new.retry_policy := schedule.retry_policy;
    v_new.timeout := schedule.timeout;
    v_new.heartbeat := schedule.heartbeat;
    v_new.retention := schedule.retention;
    v_new.headers := schedule.headers;
    v_new.catch_up := schedule.catch_up;
    v_new.catch_up_limit := schedule.catch_up_limit;
    v_new.overlap := schedule.overlap;
    v_new.jitter := schedule.jitter;
    v_new.starts_at := schedule.starts_at;
    v_new.ends_at := schedule.ends_at;
    v_new.owner := schedule.owner;
    select split.cron, split.zone into v_new.cron, v_new.time_zone
    from underway._split_cron(schedule.cron, schedule.time_zone) split;
    v_cron := underway._read_cron(v_new.cron);
    perform underway._check_schedule(v_new);

    loop
        -- Read the clock under the lock: another session may have run or changed the schedule until then.
        v_old := underway._lock_schedule(schedule.name);
        v_now := underway._clock();

        v_new.check_at := v_old.check_at;
        v_new.created_at := coalesce(v_old.created_at, v_now);
        v_new.updated_at := v_old.updated_at;
        v_new.paused_at := v_old.paused_at;
        v_new.last_at := v_old.last_at;
        v_new.last_task := v_old.last_task;
        v_new.last_error := v_old.last_error;
        v_new.last_error_at := v_old.last_error_at;
        -- @every counts from the start if there is one, else from when the expression was set. A whole second, not
        -- before the start.
        v_new.anchored_at := date_trunc('second', coalesce(
            nullif(v_new.starts_at, '-infinity') + interval '999999 microseconds',
            case when v_new.cron = v_old.cron then v_old.anchored_at end,
            v_now
        ));
        v_cron.anchored_at := v_new.anchored_at;
        if (v_new.cron, v_new.time_zone, v_new.starts_at, v_new.ends_at)
           is not distinct from (v_old.cron, v_old.time_zone, v_old.starts_at, v_old.ends_at)
        then
            -- Keep the next time, also if it is due or was missed.
            v_new.next_at := v_old.next_at;
        else
            v_new.next_at := underway._next_time(
                v_cron, v_new.time_zone, greatest(v_now, v_old.last_at), v_new.starts_at, v_new.ends_at
            );
            if v_new.next_at is null then
                raise exception using
                    errcode = 'UW008',
                    message = format(
                        'cron expression %L in %s matches no time after %s', v_new.cron, v_new.time_zone,
                        greatest(v_now, v_new.starts_at) || coalesce(' until ' || v_new.ends_at, '')
                    ),
                    hint = 'Give an expression that matches a time. underway.cron_preview() shows its times.';
            end if;
        end if;
        if v_new operator(pg_catalog.*=) v_old then
            return v_old.next_at;
        end if;

        v_new.updated_at := v_now;
        v_new.check_at := case when v_new.paused_at is null then v_new.next_at end;

        insert into underway.schedule as s
        values (v_new.*)
        on conflict on constraint schedule_pkey do update set
            (next_at, check_at, updated_at, starts_at, ends_at, anchored_at, queue, job, cron, time_zone, catch_up,
             catch_up_limit, overlap, jitter, owner, priority, expires, input, headers, retry_policy, timeout, heartbeat,
             retention)
            = (excluded.next_at, excluded.check_at, excluded.updated_at, excluded.starts_at, excluded.ends_at,
               excluded.anchored_at, excluded.queue, excluded.job, excluded.cron, excluded.time_zone,
               excluded.catch_up, excluded.catch_up_limit, excluded.overlap, excluded.jitter, excluded.owner,
               excluded.priority, excluded.expires, excluded.input, excluded.headers, excluded.retry_policy, excluded.timeout,
               excluded.heartbeat, excluded.retention)
        where v_old.name is not null;

        -- Another session has created a schedule of this name in the meantime: replace that one.
        exit when found;
    end loop;

    return v_new.next_at;
end;
$$;

comment on function underway.schedule(
    text, text, text, text, jsonb, text, integer, interval, underway.retry_policy, interval, interval, interval, jsonb,
    text, integer, text, interval, timestamptz, timestamptz, text
) is 'Create a schedule or replace the one of this name; a paused schedule stays paused. Returns its next time.';
