-- enqueue_many: insert a task for each input, in the caller's transaction; return their ids in the order of the inputs.
--
--   -> pending
--
-- Writes: task.
-- Calls: _clock, _enqueue, _max_input_size, _plain_queue, _queue_of_job, _wake.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state,
--   UW007 input_too_large, UW010 unique_conflict, UW011 queue_full, UW016 job_not_found.

create or replace function underway.enqueue_many(
    queue text,
    inputs jsonb[],
    job text default null,
    delay interval default null,
    run_at timestamptz default null,
    priority integer default null,
    expires interval default null,
    expires_at timestamptz default null,
    retry_policy underway.retry_policy default null,
    timeout interval default null,
    heartbeat interval default null,
    retention interval default null,
    headers jsonb default null,
    unique_keys text[] default null,
    on_conflict text default 'return',
    unique_for interval default null,
    unique_until text default 'finish',
    concurrency_key text default null,
    after bigint[] default null,
    after_failure text default 'wait'
)
returns bigint[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now       timestamptz := underway._clock();
    v_wake      boolean;
    v_ids       bigint[];
begin
    if enqueue_many.queue is null then
        enqueue_many.queue := underway._queue_of_job(enqueue_many.job);
    end if;

    select
        exists (
            select
            from underway.worker w
            where w.idle
              and q.name = any (w.queues)
              and w.seen_at between v_now - interval '30 seconds' and v_now + interval '30 seconds'
        ),
        array(select nextval('underway.task_id_seq') from unnest(enqueue_many.inputs))
    into v_wake, v_ids
    from underway._plain_queue(enqueue_many.queue, enqueue_many.job, enqueue_many.priority) as q (name)
    where enqueue_many.unique_keys is null
      and enqueue_many.on_conflict = 'return'
      and enqueue_many.unique_until = 'finish'
      and enqueue_many.after_failure = 'wait'
      and (jsonb_typeof(enqueue_many.headers) <> 'object') is not true
      and num_nonnulls(
          enqueue_many.delay, enqueue_many.run_at, enqueue_many.expires, enqueue_many.expires_at,
          enqueue_many.retry_policy, enqueue_many.timeout, enqueue_many.heartbeat, enqueue_many.retention,
          enqueue_many.unique_for, enqueue_many.concurrency_key, enqueue_many.after
      ) = 0
      and (
          -- A look at the limit costs a plain enqueue 3%. It is 1 kB at least.
          select case when max(given.size) <= 1024 then true else max(given.size) <= underway._max_input_size() end
          from (
              select coalesce(octet_length(one.input::text), 2147483647) as size
              from unnest(enqueue_many.inputs) as one (input)
          ) given
      );

    -- Options, keys, or something to refuse.
    if not found then
        return array(
            select given.id
            from underway._enqueue(
                enqueue_many.queue,
                enqueue_many.inputs,
                enqueue_many.unique_keys,
                row(
                    enqueue_many.job, enqueue_many.delay, enqueue_many.run_at, enqueue_many.priority,
                    enqueue_many.expires, enqueue_many.expires_at, enqueue_many.retry_policy, enqueue_many.timeout,
                    enqueue_many.heartbeat, enqueue_many.retention, enqueue_many.headers, enqueue_many.on_conflict,
                    enqueue_many.unique_for, enqueue_many.unique_until, enqueue_many.concurrency_key,
                    enqueue_many.after, enqueue_many.after_failure
                )::underway.task_options
            ) with ordinality as given (id, created, replaced, number)
            order by given.number
        );
    end if;

    -- The default of ready_at is the clock: it is read while the statement has its lock on `task`, as the watermark needs.
    insert into underway.task (id, queue, job, input, priority, enqueued_at, headers)
    select
        given.id, enqueue_many.queue, enqueue_many.job, given.input, coalesce(enqueue_many.priority, 0), v_now,
        enqueue_many.headers
    from unnest(v_ids, enqueue_many.inputs) as given (id, input);

    if v_wake then
        perform underway._wake(enqueue_many.queue);
    end if;

    return v_ids;
end;
$$;

comment on function underway.enqueue_many(
    text, jsonb[], text, interval, timestamptz, integer, interval, timestamptz, underway.retry_policy, interval, interval,
    interval, jsonb, text[], text, interval, text, text, bigint[], text
) is
    'Enqueue one task for each input, all with the same options except their unique keys. Returns their ids in the order'
    ' of the inputs; for a unique key that is taken, the id of the task that holds it. A null queue is that of the job.';
