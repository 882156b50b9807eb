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
as $$
declare
    v_now      timestamptz := underway._clock();
    v_ready_at timestamptz;
    v_ids      bigint[];
begin
    v_ready_at := underway._check_options(
        enqueue_many.queue, enqueue_many.delay, enqueue_many.run_at, v_now, enqueue_many.priority,
        enqueue_many.retry_policy, enqueue_many.timeout, enqueue_many.heartbeat, enqueue_many.ttl, enqueue_many.headers
    );
    perform underway._check_inputs(enqueue_many.inputs);
    perform underway._open_lane(enqueue_many.queue, enqueue_many.priority);

    with added as (
        insert into underway.task (
            queue, job, input, priority, ready_at, enqueued_at,
            retry_policy, timeout, heartbeat, ttl, headers
        )
        select
            enqueue_many.queue, enqueue_many.job, given.input, enqueue_many.priority, v_ready_at, v_now,
            enqueue_many.retry_policy, enqueue_many.timeout, enqueue_many.heartbeat, enqueue_many.ttl,
            enqueue_many.headers
        from unnest(enqueue_many.inputs) with ordinality as given (input, place)
        order by given.place
        returning id
    )
    select coalesce(array_agg(added.id order by added.id), '{}') into v_ids from added;

    if v_ids <> '{}' then
        perform underway._wake(enqueue_many.queue, v_ready_at - v_now);
    end if;

    return v_ids;
end;
$$;

comment on function underway.enqueue_many(
    text, jsonb[], text, interval, timestamptz, integer, underway.retry_policy, interval, interval, interval, jsonb
) is 'Enqueue one task for each input, all with the same options. Returns their ids in the order of the inputs.';
