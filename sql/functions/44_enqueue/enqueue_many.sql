-- enqueue_many: insert a task for each input, in the caller's transaction; return their ids in the order of the inputs.
--
--   -> pending
--
-- Writes: task.
-- Calls: _clock, _enqueue, _max_input_size, _wake.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state, UW007 input_too_large, UW010 unique_conflict, UW011 queue_full, UW016 job_not_found.

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
    v_now         timestamptz := underway._clock();
    v_fast_path   boolean;
    v_idle        boolean;
    v_ids         bigint[];
begin
    if enqueue_many.queue is null then
        select j.queue into enqueue_many.queue from underway.job j where j.name = enqueue_many.job;
    end if;

    -- Read in one statement all that a plain task needs. Each statement and each expression counts here: PL/pgSQL
    -- prepares all that are executed again in each transaction, and most enqueue one task (docs/decisions/0013).
    select
        (
            -- A priority in use, and no watermark in the future: ready_at is the clock, read by the insert.
            (enqueue_many.priority is null or enqueue_many.priority = 0 or m.version is not null)
                and (m.observed_at > v_now) is not true
                and q.max_length is null
                -- enqueue gives the array of one null. Not the literal '{null}', which array_nulls turns into a text.
                and (
                    enqueue_many.unique_keys is null
                    or (enqueue_many.unique_keys = array[null::text] and cardinality(enqueue_many.inputs) = 1)
                )
                and enqueue_many.on_conflict = 'return'
                and enqueue_many.unique_until = 'finish'
                and enqueue_many.after_failure = 'wait'
                and num_nonnulls(
                    enqueue_many.delay, enqueue_many.run_at, enqueue_many.expires, enqueue_many.expires_at,
                    enqueue_many.retry_policy, enqueue_many.timeout, enqueue_many.heartbeat, enqueue_many.retention,
                    enqueue_many.headers, enqueue_many.unique_for, enqueue_many.concurrency_key, enqueue_many.after
                ) = 0
                and (
                    -- A look at the limit costs a plain enqueue 3%. It is 1 kB at least.
                    select case when max(given.size) <= 1024 then true else max(given.size) <= underway._max_input_size() end
                    from (
                        select coalesce(octet_length(one.input::text), 2147483647) as size
                        from unnest(enqueue_many.inputs) as one (input)
                    ) given
                ) is true
        ) is true
            -- Null if only the job, if any, is left to look at.
            and not nullif(q.jobs_have_defaults, true),
        exists (
            select
            from underway.worker w
            where w.idle
              and q.name = any (w.queues)
              and w.seen_at between v_now - interval '30 seconds' and v_now + interval '30 seconds'
        ),
        array(select nextval('underway.task_id_seq') from unnest(enqueue_many.inputs))
    into v_fast_path, v_idle, v_ids
    from underway.queue q
    left join lateral (
        select w.observed_at, w.version
        from underway.watermark w
        where w.queue = q.name
          and w.priority = coalesce(enqueue_many.priority, 0)
        order by w.version desc
        limit 1
    ) m on true
    where q.name = enqueue_many.queue;

    if v_fast_path is not true then
        if v_fast_path is null and v_ids is not null then
            v_fast_path := (
                select
                    j.concurrency_key is null and j.expires is null
                        and (j.priority is null or enqueue_many.priority is not null)
                from underway.job j
                where j.name = enqueue_many.job
            ) is not false;
        end if;

        -- Options, keys, or something to refuse.
        if v_fast_path is not true then
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
                    )::underway.task_options,
                    v_ids
                ) with ordinality as given (id, created, replaced, number)
                order by given.number
            );
        end if;
    end if;

    -- The default of ready_at is the clock: it is read while the statement has its lock on `task`, as the watermark needs.
    insert into underway.task (id, queue, job, input, priority, enqueued_at)
    select given.id, enqueue_many.queue, enqueue_many.job, given.input, coalesce(enqueue_many.priority, 0), v_now
    from unnest(v_ids, enqueue_many.inputs) as given (id, input);

    if v_idle then
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
