-- _check_options: refuse what no task may have; returns when a task with these options is ready.
--
-- Writes: nothing.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway._check_options(
    queue text,
    delay interval,
    run_at timestamptz,
    now timestamptz,
    priority integer,
    retry_policy underway.retry_policy,
    timeout interval,
    heartbeat interval,
    retention interval,
    headers jsonb
)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from underway.queue q where q.name = _check_options.queue) then
        perform underway._raise_queue_not_found(_check_options.queue);
    end if;

    if _check_options.delay is not null and _check_options.run_at is not null then
        raise exception using
            errcode = 'UW001',
            message = format('both delay %s and run_at %s are given', _check_options.delay, _check_options.run_at),
            hint = 'Give one of them.';
    end if;

    if _check_options.priority is null then
        raise exception using
            errcode = 'UW001',
            message = 'priority is null',
            hint = 'Leave it out for 0; higher runs first.';
    end if;

    if jsonb_typeof(_check_options.headers) <> 'object' then
        raise exception using
            errcode = 'UW001',
            message = format('headers are a JSON %s', jsonb_typeof(_check_options.headers)),
            hint = 'Give headers as a JSON object.';
    end if;

    if _check_options.run_at not between '-infinity' and _check_options.now + interval '100 years' then
        raise exception using
            errcode = 'UW001',
            message = format('run_at %s is more than a hundred years away', _check_options.run_at),
            hint = 'Give a time that somebody will see.';
    end if;

    -- Most tasks take these from their queue.
    if _check_options.delay is not null then
        perform underway._check_interval('delay', _check_options.delay, '0');
    end if;
    if _check_options.timeout is not null then
        perform underway._check_interval('timeout', _check_options.timeout, '1 millisecond');
    end if;
    if _check_options.heartbeat is not null then
        perform underway._check_interval('heartbeat', _check_options.heartbeat, '100 milliseconds');
    end if;
    if _check_options.retention is not null then
        perform underway._check_interval('retention', _check_options.retention, '0');
    end if;
    if _check_options.retry_policy is distinct from null then
        perform underway._check_retry_policy(_check_options.retry_policy);
    end if;

    -- A time in the past means now.
    return greatest(_check_options.now + coalesce(_check_options.delay, '0'), _check_options.run_at);
end;
$$;

comment on function underway._check_options(
    text, interval, timestamptz, timestamptz, integer, underway.retry_policy, interval, interval, interval, jsonb
) is 'Refuse options that no task may have. Returns when a task with these options is ready.';
