-- enqueue_many: new tasks, in the caller's transaction; their ids in the order of the inputs.
--
--   -> pending
--
-- Writes: task.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state, UW007 input_too_large, UW010 unique_conflict, UW011 queue_full.

create or replace function underway.enqueue_many(
    queue text,
    inputs jsonb[],
    job text default null,
    delay interval default null,
    run_at timestamptz default null,
    priority integer default 0,
    retry_policy underway.retry_policy default null,
    timeout interval default null,
    heartbeat interval default null,
    retention interval default null,
    headers jsonb default null,
    unique_keys text[] default null,
    on_conflict text default 'return',
    unique_for interval default null,
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
    v_now        timestamptz := underway._clock();
    v_ready_at   timestamptz;
    v_fast_path  boolean;
    v_last_ready bigint; -- tasks of a concurrency key after this one start parked
    v_idle       boolean;
    v_ids        bigint[];
begin
    -- One look at all that most calls need. Each statement and each expression counts here: a transaction that enqueues
    -- one task prepares them all for it (docs/decisions/0013).
    select
        (m.observed_at > v_now + interval '1 second') is not true
            and (enqueue_many.priority = 0 or m.version is not null)
            and q.max_length is null
            and enqueue_many.on_conflict = 'return'
            and enqueue_many.after_failure = 'wait'
            and (enqueue_many.unique_keys is null or cardinality(enqueue_many.inputs) = 1)
            and num_nonnulls(
                enqueue_many.delay, enqueue_many.run_at, enqueue_many.retry_policy, enqueue_many.timeout,
                enqueue_many.heartbeat, enqueue_many.retention, enqueue_many.headers, enqueue_many.unique_for,
                enqueue_many.concurrency_key, enqueue_many.after
            ) = 0
            and (
                select bool_and(coalesce(octet_length(given.input::text) <= (select underway._max_input_size()), false))
                from unnest(enqueue_many.inputs) as given (input)
            ),
        greatest(v_now, m.observed_at),
        exists (select from underway.worker w where w.idle and q.name = any (w.queues)),
        array(select nextval('underway.task_id_seq') from unnest(enqueue_many.inputs))
    into v_fast_path, v_ready_at, v_idle, v_ids
    from underway.queue q
    left join lateral underway._watermark(q.name, enqueue_many.priority) m on true
    where q.name = enqueue_many.queue
      -- No key, as enqueue gives none.
      and coalesce(enqueue_many.unique_keys, '{null}') = '{null}';

    if v_fast_path is not true then
        if enqueue_many.unique_keys <> '{null}' then
            return array(
                select given.id
                from underway.enqueue_unique(
                    enqueue_many.queue, enqueue_many.inputs, enqueue_many.unique_keys, enqueue_many.job,
                    enqueue_many.delay, enqueue_many.run_at, enqueue_many.priority, enqueue_many.retry_policy,
                    enqueue_many.timeout, enqueue_many.heartbeat, enqueue_many.retention, enqueue_many.headers,
                    enqueue_many.on_conflict, enqueue_many.unique_for, enqueue_many.concurrency_key,
                    enqueue_many.after, enqueue_many.after_failure
                ) with ordinality as given (id, created, replaced, place)
                order by given.place
            );
        end if;

        v_ready_at := underway._check_options(
            enqueue_many.queue, enqueue_many.delay, enqueue_many.run_at, v_now, enqueue_many.priority,
            enqueue_many.retry_policy, enqueue_many.timeout, enqueue_many.heartbeat, enqueue_many.retention,
            enqueue_many.headers
        );
        perform underway._check_inputs(enqueue_many.inputs);
        perform underway._check_keys(
            enqueue_many.inputs, enqueue_many.unique_keys, enqueue_many.on_conflict, enqueue_many.unique_for,
            enqueue_many.concurrency_key
        );
        perform underway._check_length(enqueue_many.queue, cardinality(v_ids));
        v_ready_at := greatest(v_ready_at, underway._earliest_ready_at(enqueue_many.queue, enqueue_many.priority));
        perform underway._ensure_priority(enqueue_many.queue, enqueue_many.priority);
        if enqueue_many.concurrency_key is not null then
            perform underway._mark_queue_keyed(enqueue_many.queue);
            -- Of one statement only as many tasks of a key start ready as may run; the rest waits for their slots.
            if coalesce(enqueue_many.after, '{}') = '{}' then
                v_last_ready := v_ids[(
                    select case when q.fair then 1 else q.max_running_per_key end
                    from underway.queue q
                    where q.name = enqueue_many.queue
                )];
            end if;
        end if;
    end if;

    insert into underway.task (
        id, queue, job, input, priority, ready_at, enqueued_at, retry_policy, timeout, heartbeat, retention, headers,
        concurrency_key, parked
    )
    select
        given.id, enqueue_many.queue, enqueue_many.job, given.input, enqueue_many.priority,
        -- The clock is read here, where the statement has its lock on `task`: the watermark relies on it.
        greatest(v_ready_at, underway._clock()), v_now,
        enqueue_many.retry_policy, enqueue_many.timeout, enqueue_many.heartbeat, enqueue_many.retention,
        enqueue_many.headers, enqueue_many.concurrency_key, given.id > v_last_ready is true
    from unnest(v_ids, enqueue_many.inputs) as given (id, input);

    if v_fast_path is not true then
        perform underway._add_dependencies(v_ids, enqueue_many.after, enqueue_many.after_failure);
    end if;
    if v_idle and v_ids <> '{}' then
        perform underway._wake(enqueue_many.queue, v_ready_at - v_now);
    end if;

    return v_ids;
end;
$$;

comment on function underway.enqueue_many(
    text, jsonb[], text, interval, timestamptz, integer, underway.retry_policy, interval, interval, interval, jsonb, text[],
    text, interval, text, bigint[], text
) is
    'Enqueue one task for each input, all with the same options but for their unique keys. Returns their ids in the order of'
    ' the inputs; for a unique key that is taken already, the id of the task that has it.';
