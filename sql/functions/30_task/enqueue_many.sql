-- enqueue_many: new tasks, in the caller's transaction; their ids in the order of the inputs.
--
--   -> pending
--
-- Writes: task.
-- Refuses: UW001 invalid_argument, UW003 queue_not_found, UW007 input_too_large.

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
    ttl interval default null,
    headers jsonb default null
)
returns bigint[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now      timestamptz := underway._clock_of_writer();
    v_ready_at timestamptz;
    v_usual    boolean;
    v_idle     boolean;
    v_ids      bigint[];
begin
    -- One look at all that most calls need. Each statement and each expression counts here: a transaction that enqueues
    -- one task prepares them all for it (docs/decisions/0013).
    select
        f.ready_at is not null
            and num_nonnulls(
                enqueue_many.delay, enqueue_many.run_at, enqueue_many.retry_policy, enqueue_many.timeout,
                enqueue_many.heartbeat, enqueue_many.ttl, enqueue_many.headers
            ) = 0
            and (
                select bool_and(coalesce(octet_length(given.input::text) <= (select underway._max_input_size()), false))
                from unnest(enqueue_many.inputs) as given (input)
            ),
        greatest(v_now, f.ready_at),
        exists (select from underway.worker w where w.idle and q.name = any (w.queues)),
        array(select nextval('underway.task_id_seq') from unnest(enqueue_many.inputs))
    into v_usual, v_ready_at, v_idle, v_ids
    from underway.queue q
    left join lateral (
        select passed.ready_at
        from underway.floor passed
        where passed.queue = q.name
          and passed.priority = enqueue_many.priority
        order by passed.noted_by desc
        limit 1
    ) f on true
    where q.name = enqueue_many.queue;

    if v_usual is not true then
        v_ready_at := underway._check_options(
            enqueue_many.queue, enqueue_many.delay, enqueue_many.run_at, v_now, enqueue_many.priority,
            enqueue_many.retry_policy, enqueue_many.timeout, enqueue_many.heartbeat, enqueue_many.ttl,
            enqueue_many.headers
        );
        perform underway._check_inputs(enqueue_many.inputs);
        v_ready_at := greatest(v_ready_at, underway._open_lane(enqueue_many.queue, enqueue_many.priority, v_now));
    end if;

    insert into underway.task (
        id, queue, job, input, priority, ready_at, enqueued_at, retry_policy, timeout, heartbeat, ttl, headers
    )
    select
        given.id, enqueue_many.queue, enqueue_many.job, given.input, enqueue_many.priority, v_ready_at, v_now,
        enqueue_many.retry_policy, enqueue_many.timeout, enqueue_many.heartbeat, enqueue_many.ttl,
        enqueue_many.headers
    from unnest(v_ids, enqueue_many.inputs) as given (id, input);

    if v_idle and v_ids <> '{}' then
        perform underway._wake(enqueue_many.queue, v_ready_at - v_now);
    end if;

    return v_ids;
end;
$$;

comment on function underway.enqueue_many(
    text, jsonb[], text, interval, timestamptz, integer, underway.retry_policy, interval, interval, interval, jsonb
) is 'Enqueue one task for each input, all with the same options. Returns their ids in the order of the inputs.';
