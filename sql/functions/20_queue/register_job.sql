-- register_job: store what is declared of a job. It replaces the job as a whole: where a setting is omitted, that of the
-- queue of a task applies.
--
-- Writes: job.
-- Calls: _check_dead_letter_queue, _check_interval, _check_priority, _check_retry_policy, _clock, _mark_queues,
--   _raise_queue_not_found.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway._check_job(job underway.job)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if job.name is null or length(job.name) not between 1 and 256 or job.name ~ '[[:cntrl:]]' then
        raise exception using
            errcode = 'UW001',
            message = format('%L cannot be the name of a job', job.name),
            hint = 'Give 1 to 256 printable characters.';
    end if;
    if octet_length(job.concurrency_key) not between 1 and 1024 then
        raise exception using
            errcode = 'UW001',
            message = format('the concurrency key of job %L has %s bytes', job.name, octet_length(job.concurrency_key)),
            hint = 'Give 1 to 1024 bytes of text; null for no key.';
    end if;

    -- Not `is not null`, which asks whether every part is given.
    if job.retry_policy is distinct from null then
        perform underway._check_retry_policy(job.retry_policy);
    end if;
    if job.priority is not null then
        perform underway._check_priority(job.priority);
    end if;
    perform underway._check_interval(given.name, given.value, given.shortest)
    from (
        values
            ('timeout', job.timeout, interval '1 millisecond'),
            ('heartbeat', job.heartbeat, '100 milliseconds'),
            ('retention', job.retention, '0'),
            ('expires', job.expires, '1 millisecond')
    ) as given (name, value, shortest);
end;
$$;

comment on function underway._check_job(underway.job) is 'Refuse a job whose name or settings are invalid.';

create or replace function underway.register_job(
    name text,
    queue text,
    retry_policy underway.retry_policy default null,
    timeout interval default null,
    heartbeat interval default null,
    retention interval default null,
    priority integer default null,
    dead_letter_queue text default null,
    concurrency_key text default null,
    expires interval default null,
    owner text default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now      timestamptz := underway._clock();
    v_job      underway.job;
    v_settings jsonb;
begin
    v_job.name := register_job.name;
    v_job.queue := register_job.queue;
    v_job.owner := register_job.owner;
    v_job.registered_at := v_now;
    v_job.updated_at := v_now;
    v_job.retry_policy := register_job.retry_policy;
    v_job.timeout := register_job.timeout;
    v_job.heartbeat := register_job.heartbeat;
    v_job.retention := register_job.retention;
    v_job.dead_letter_queue := register_job.dead_letter_queue;
    v_job.priority := register_job.priority;
    v_job.concurrency_key := register_job.concurrency_key;
    v_job.expires := register_job.expires;
    perform underway._check_job(v_job);

    -- Queues are locked before jobs, as in drop_queue, which removes the jobs of the queue. Waits for one that is under way.
    perform from underway.queue q where q.name = register_job.queue for key share;
    if not found then
        perform underway._raise_queue_not_found(register_job.queue);
    end if;
    perform from underway.queue q where q.name = register_job.dead_letter_queue for key share;
    perform underway._check_dead_letter_queue(register_job.queue, register_job.dead_letter_queue);

    -- What has not changed is neither written nor locked: each worker registers its jobs when it starts.
    v_settings := to_jsonb(v_job) - '{registered_at,updated_at}'::text[];
    insert into underway.job as j
    select v_job.*
    where not exists (
        select
        from underway.job same
        where same.name = v_job.name
          and to_jsonb(same) @> v_settings
    )
    on conflict (name) do update set
        (queue, owner, updated_at, retry_policy, timeout, heartbeat, retention, dead_letter_queue, priority,
         concurrency_key, expires)
        = (excluded.queue, excluded.owner, excluded.updated_at, excluded.retry_policy, excluded.timeout,
           excluded.heartbeat, excluded.retention, excluded.dead_letter_queue, excluded.priority,
           excluded.concurrency_key, excluded.expires)
    where not to_jsonb(j) @> v_settings;
    perform underway._mark_queues();
end;
$$;

comment on function underway.register_job(
    text, text, underway.retry_policy, interval, interval, interval, integer, text, text, interval, text
) is
    'Store the queue and the settings of a job, and replace the earlier ones. A setting is looked up when it is needed: of'
    ' the task, of its job, of its queue. So a change applies to the backlog too, except priority, concurrency_key and'
    ' expires, which a task gets when it is enqueued. An omitted setting is that of the queue.';
