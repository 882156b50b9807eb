-- _check_options: refuse options that no task may have; return when a task with these options becomes ready.
--
-- Writes: nothing.
-- Calls: _check_interval, _check_priority, _check_retry_policy, _raise_job_not_found, _raise_queue_not_found.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW016 job_not_found.

create or replace function underway._check_options(queue text, options underway.task_options, now timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ready_at timestamptz;
begin
    if not exists (select from underway.queue q where q.name = _check_options.queue) then
        if _check_options.queue is null then
            perform underway._raise_job_not_found(_check_options.options.job);
        end if;
        perform underway._raise_queue_not_found(_check_options.queue);
    end if;

    if _check_options.options.delay is not null and _check_options.options.run_at is not null then
        raise exception using
            errcode = 'UW001',
            message = format(
                'both delay %s and run_at %s are given', _check_options.options.delay, _check_options.options.run_at
            ),
            hint = 'Give one of them.';
    end if;

    if _check_options.options.run_at not between '-infinity' and _check_options.now + interval '100 years' then
        raise exception using
            errcode = 'UW001',
            message = format('run_at %s is more than a hundred years away', _check_options.options.run_at),
            hint = 'Give a time within the next hundred years; one in the past means now.';
    end if;

    if _check_options.options.expires is not null and _check_options.options.expires_at is not null then
        raise exception using
            errcode = 'UW001',
            message = format(
                'both expires %s and expires_at %s are given', _check_options.options.expires,
                _check_options.options.expires_at
            ),
            hint = 'Give one of them.';
    end if;

    if _check_options.options.expires_at > _check_options.now + interval '200 years'
       and _check_options.options.expires_at < 'infinity' then
        raise exception using
            errcode = 'UW001',
            message = format('expires_at %s is more than two hundred years away', _check_options.options.expires_at),
            hint = 'Give an earlier time; one in the past means now, and infinity never.';
    end if;

    if jsonb_typeof(_check_options.options.headers) <> 'object' then
        raise exception using
            errcode = 'UW001',
            message = format('headers are a JSON %s', jsonb_typeof(_check_options.options.headers)),
            hint = 'Give headers as a JSON object.';
    end if;

    perform underway._check_priority(_check_options.options.priority);
    perform underway._check_interval(given.name, given.value, given.shortest)
    from (
        values
            ('delay', _check_options.options.delay, interval '0'),
            ('expires', _check_options.options.expires, '1 millisecond'),
            ('timeout', _check_options.options.timeout, '1 millisecond'),
            ('heartbeat', _check_options.options.heartbeat, '100 milliseconds'),
            ('retention', _check_options.options.retention, '0')
    ) as given (name, value, shortest)
    where given.value is not null;
    -- Not `is not null`, which asks whether every part is given.
    if _check_options.options.retry_policy is distinct from null then
        perform underway._check_retry_policy(_check_options.options.retry_policy);
    end if;

    -- A time in the past means now.
    v_ready_at := greatest(
        _check_options.now + coalesce(_check_options.options.delay, '0'), _check_options.options.run_at
    );
    if v_ready_at > _check_options.now and _check_options.options.expires_at <= v_ready_at then
        raise exception using
            errcode = 'UW001',
            message = format(
                'expires_at %s is before the task is due, at %s', _check_options.options.expires_at, v_ready_at
            ),
            hint = 'Give a later time, or expires, which counts from when the task is due.';
    end if;

    return v_ready_at;
end;
$$;

comment on function underway._check_options(text, underway.task_options, timestamptz) is
    'Refuse options that no task may have. Returns when a task with these options becomes ready.';
