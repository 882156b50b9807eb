-- _store_queue: a queue with its settings; what is null keeps its value, or has the default in a new queue.
--
-- Writes: queue.
-- Calls: _check_dead_letter_queue, _check_interval, _check_retry_policy, _clock, _ensure_priority,
--   _mark_queues, retry_policy.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway._store_queue(
    name text,
    dead_letter_queue text,
    retry_policy underway.retry_policy,
    timeout interval,
    heartbeat interval,
    retention interval,
    keep_history boolean,
    max_running integer,
    max_running_per_key integer,
    rate_limit integer,
    rate_period interval,
    max_length integer,
    rate_limit_per_key integer,
    fair boolean
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now   timestamptz := underway._clock();
    v_problem text;
begin
    if _store_queue.name is null
       or _store_queue.name !~ '^[^[:space:][:cntrl:]]([^[:cntrl:]]{0,126}[^[:space:][:cntrl:]])?$' then
        raise exception using
            errcode = 'UW001',
            message = format('%L cannot be the name of a queue', _store_queue.name),
            hint = 'Give 1 to 128 printable characters, without blanks at either end.';
    end if;

    -- Not `is not null`, which asks whether every part is given.
    if _store_queue.retry_policy is distinct from null then
        perform underway._check_retry_policy(_store_queue.retry_policy);
    end if;
    perform underway._check_interval('timeout', _store_queue.timeout, '1 millisecond');
    perform underway._check_interval('heartbeat', _store_queue.heartbeat, '100 milliseconds');
    perform underway._check_interval('retention', _store_queue.retention, '0');
    perform underway._check_interval('rate_period', _store_queue.rate_period, '1 millisecond');
    select format('%s is %s', given.setting, given.value)
    into v_problem
    from (
        values
            ('max_running', _store_queue.max_running, 0),
            ('max_running_per_key', _store_queue.max_running_per_key, 1),
            ('rate_limit', _store_queue.rate_limit, 0),
            ('rate_limit_per_key', _store_queue.rate_limit_per_key, 0),
            ('max_length', _store_queue.max_length, 0)
    ) as given (setting, value, least)
    where given.value < given.least
    limit 1;
    if found then
        raise exception using
            errcode = 'UW001',
            message = format('%s of queue %L', v_problem, _store_queue.name),
            hint = 'Give a positive number; 0 takes a limit away, except max_running_per_key, which is at least 1.';
    end if;
    -- Two sessions must not close a circle of dead-letter queues together.
    if _store_queue.dead_letter_queue <> '' then
        perform pg_advisory_xact_lock(hashtext('underway.queue.dead_letter_queue'));
    end if;
    perform underway._check_dead_letter_queue(_store_queue.name, nullif(_store_queue.dead_letter_queue, ''));

    insert into underway.queue as q (
        name, dead_letter_queue, retry_policy, timeout, heartbeat, retention, keep_history, max_running, max_running_per_key,
        rate_limit, rate_period, max_length, rate_limit_per_key, fair, created_at
    )
    values (
        _store_queue.name,
        nullif(_store_queue.dead_letter_queue, ''),
        coalesce(_store_queue.retry_policy, underway.retry_policy()),
        coalesce(_store_queue.timeout, '15 minutes'),
        coalesce(_store_queue.heartbeat, '30 seconds'),
        coalesce(_store_queue.retention, '14 days'),
        coalesce(_store_queue.keep_history, true),
        nullif(_store_queue.max_running, 0),
        coalesce(_store_queue.max_running_per_key, 1),
        nullif(_store_queue.rate_limit, 0),
        coalesce(_store_queue.rate_period, '1 second'),
        nullif(_store_queue.max_length, 0),
        nullif(_store_queue.rate_limit_per_key, 0),
        coalesce(_store_queue.fair, false),
        v_now
    )
    on conflict on constraint queue_pkey do update set
        dead_letter_queue = case
            when _store_queue.dead_letter_queue is null then q.dead_letter_queue
            else excluded.dead_letter_queue
        end,
        retry_policy = coalesce(_store_queue.retry_policy, q.retry_policy),
        timeout = coalesce(_store_queue.timeout, q.timeout),
        heartbeat = coalesce(_store_queue.heartbeat, q.heartbeat),
        retention = coalesce(_store_queue.retention, q.retention),
        keep_history = coalesce(_store_queue.keep_history, q.keep_history),
        max_running = nullif(coalesce(_store_queue.max_running, q.max_running), 0),
        max_running_per_key = coalesce(_store_queue.max_running_per_key, q.max_running_per_key),
        rate_limit = nullif(coalesce(_store_queue.rate_limit, q.rate_limit), 0),
        rate_period = coalesce(_store_queue.rate_period, q.rate_period),
        max_length = nullif(coalesce(_store_queue.max_length, q.max_length), 0),
        rate_limit_per_key = nullif(coalesce(_store_queue.rate_limit_per_key, q.rate_limit_per_key), 0),
        fair = coalesce(_store_queue.fair, q.fair);

    perform underway._mark_queues();
    perform underway._ensure_priority(_store_queue.name, 0);
end;
$$;

comment on function underway._store_queue(
    text, text, underway.retry_policy, interval, interval, interval, boolean, integer, integer, integer, interval, integer,
    integer, boolean
) is 'Store a queue with its settings; what is null keeps its value, or has the default in a new queue.';
