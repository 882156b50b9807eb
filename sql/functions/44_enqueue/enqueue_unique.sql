-- enqueue_unique: insert a task for each input whose unique key is free; return the result for each input.
--
--   -> pending
--
-- Writes: nothing.
-- Calls: _enqueue.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state,
--   UW007 input_too_large, UW010 unique_conflict, UW011 queue_full, UW016 job_not_found.

create or replace function underway.enqueue_unique(
    queue text,
    inputs jsonb[],
    unique_keys text[],
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
    on_conflict text default 'return',
    unique_for interval default null,
    unique_until text default 'finish',
    concurrency_key text default null,
    after bigint[] default null,
    after_failure text default 'wait'
)
returns setof underway.enqueued_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select *
    from underway._enqueue(
        enqueue_unique.queue,
        enqueue_unique.inputs,
        coalesce(enqueue_unique.unique_keys, '{}'),
        row(
            enqueue_unique.job, enqueue_unique.delay, enqueue_unique.run_at, enqueue_unique.priority,
            enqueue_unique.expires, enqueue_unique.expires_at, enqueue_unique.retry_policy, enqueue_unique.timeout,
            enqueue_unique.heartbeat, enqueue_unique.retention, enqueue_unique.headers,
            enqueue_unique.on_conflict, enqueue_unique.unique_for,
            enqueue_unique.unique_until, enqueue_unique.concurrency_key, enqueue_unique.after,
            enqueue_unique.after_failure
        )::underway.task_options
    );
end;
$$;

comment on function underway.enqueue_unique(
    text, jsonb[], text[], text, interval, timestamptz, integer, interval, timestamptz, underway.retry_policy, interval,
    interval, interval, jsonb, text, interval, text, text, bigint[], text
) is
    'Enqueue a task for each input whose unique key is free. For each other one on_conflict decides: return the id of the'
    ' task that holds the key, raise an error, or replace that task while it is pending. With unique_for a key is taken'
    ' for that long from now, even if its task succeeds before; with unique_until => ''start'' it is free as soon as its'
    ' task begins. Returns a row for each input, in their order.';
