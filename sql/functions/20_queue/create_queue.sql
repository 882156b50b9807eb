-- create_queue: create a queue, or change the settings of one; what is left out keeps its value.
--
-- Writes: queue.
-- Refuses: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway._check_dead_letter_queue(queue text, dead_letter_queue text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_next text := _check_dead_letter_queue.dead_letter_queue;
begin
    while v_next is not null loop
        if v_next = _check_dead_letter_queue.queue then
            raise exception using
                errcode = 'UW001',
                message = format(
                    'queue %L can not have the dead-letter queue %L: its dead letters would come back to it',
                    _check_dead_letter_queue.queue, _check_dead_letter_queue.dead_letter_queue
                ),
                hint = 'Choose a queue whose own dead-letter queues do not lead back here.';
        end if;

        select q.dead_letter_queue into v_next from underway.queue q where q.name = v_next;

        if not found then
            perform underway._queue_not_found(_check_dead_letter_queue.dead_letter_queue);
        end if;
    end loop;
end;
$$;

comment on function underway._check_dead_letter_queue(text, text) is
    'Refuse a dead-letter queue that does not exist or from which dead letters would come back.';

create or replace function underway.create_queue(
    name text,
    dead_letter_queue text default null,
    retry_policy underway.retry_policy default null,
    timeout interval default null,
    heartbeat interval default null,
    ttl interval default null,
    keep_history boolean default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := underway._clock_of_writer();
begin
    if create_queue.name is null
       or create_queue.name !~ '^[^[:space:][:cntrl:]]([^[:cntrl:]]{0,126}[^[:space:][:cntrl:]])?$' then
        raise exception using
            errcode = 'UW001',
            message = format('%L can not be the name of a queue', create_queue.name),
            hint = 'Give 1 to 128 printable characters, without blanks at either end.';
    end if;

    -- Not `is not null`, which asks whether every part is given.
    if create_queue.retry_policy is distinct from null then
        perform underway._check_retry_policy(create_queue.retry_policy);
    end if;
    perform underway._check_interval('timeout', create_queue.timeout, '1 millisecond');
    perform underway._check_interval('heartbeat', create_queue.heartbeat, '100 milliseconds');
    perform underway._check_interval('ttl', create_queue.ttl, '0');
    -- Two sessions must not close a circle of dead-letter queues together.
    if create_queue.dead_letter_queue <> '' then
        perform pg_advisory_xact_lock(hashtext('underway.queue.dead_letter_queue'));
    end if;
    perform underway._check_dead_letter_queue(create_queue.name, nullif(create_queue.dead_letter_queue, ''));

    insert into underway.queue as q (name, dead_letter_queue, retry_policy, timeout, heartbeat, ttl, keep_history, created_at)
    values (
        create_queue.name,
        nullif(create_queue.dead_letter_queue, ''),
        coalesce(create_queue.retry_policy, underway.retry_policy()),
        coalesce(create_queue.timeout, '15 minutes'),
        coalesce(create_queue.heartbeat, '30 seconds'),
        coalesce(create_queue.ttl, '14 days'),
        coalesce(create_queue.keep_history, true),
        v_now
    )
    on conflict on constraint queue_pkey do update set
        dead_letter_queue = case
            when create_queue.dead_letter_queue is null then q.dead_letter_queue
            else excluded.dead_letter_queue
        end,
        retry_policy = coalesce(create_queue.retry_policy, q.retry_policy),
        timeout = coalesce(create_queue.timeout, q.timeout),
        heartbeat = coalesce(create_queue.heartbeat, q.heartbeat),
        ttl = coalesce(create_queue.ttl, q.ttl),
        keep_history = coalesce(create_queue.keep_history, q.keep_history);

    perform underway._open_lane(create_queue.name, 0, v_now);
end;
$$;

comment on function underway.create_queue(text, text, underway.retry_policy, interval, interval, interval, boolean) is
    'Create a queue, or change the settings that are given. An empty dead_letter_queue takes it away; with keep_history'
    ' false, tasks that succeed leave nothing behind.';
