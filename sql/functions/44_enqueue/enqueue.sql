-- enqueue: insert a task, in the caller's transaction.
--
--   -> pending
--
-- Writes: nothing.
-- Calls: _enqueue_one, _queue_of_job.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state,
--   UW007 input_too_large, UW010 unique_conflict, UW011 queue_full, UW016 job_not_found.

create or replace function underway.enqueue(
    queue text default null,
    input jsonb default '{}',
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
    unique_key text default null,
    on_conflict text default 'return',
    unique_for interval default null,
    unique_until text default 'finish',
    concurrency_key text default null,
    after bigint[] default null,
    after_failure text default 'wait'
)
returns bigint
language sql
volatile
-- A single call without rights of its own, so that the planner inlines it into the caller's statement, where the options
-- that have their defaults are constants (docs/decisions/0013).
begin atomic
    select underway._enqueue_one(
        coalesce(enqueue.queue, underway._queue_of_job(enqueue.job)), enqueue.input, enqueue.job, enqueue.priority,
        enqueue.headers,
        case
            when num_nonnulls(
                enqueue.delay, enqueue.run_at, enqueue.expires, enqueue.expires_at, enqueue.retry_policy, enqueue.timeout,
                enqueue.heartbeat, enqueue.retention, enqueue.unique_for, enqueue.concurrency_key, enqueue.after
            ) > 0 or enqueue.on_conflict is distinct from 'return' or enqueue.unique_until is distinct from 'finish'
                or enqueue.after_failure is distinct from 'wait'
            then row(
                enqueue.job, enqueue.delay, enqueue.run_at, enqueue.priority, enqueue.expires, enqueue.expires_at,
                enqueue.retry_policy, enqueue.timeout, enqueue.heartbeat, enqueue.retention, enqueue.headers,
                enqueue.on_conflict, enqueue.unique_for, enqueue.unique_until, enqueue.concurrency_key, enqueue.after,
                enqueue.after_failure
            )::underway.task_options
        end,
        enqueue.unique_key
    );
end;

comment on function underway.enqueue(
    text, jsonb, text, interval, timestamptz, integer, interval, timestamptz, underway.retry_policy, interval, interval,
    interval, jsonb, text, text, interval, text, text, bigint[], text
) is
    'Enqueue a task in the transaction of the caller. Without a queue it goes to the queue of its job, and without a priority,'
    ' a concurrency_key or an expiry it has those of its job. With expires, counted from when it is due, or with expires_at it'
    ' is cancelled if no worker has begun it by then. Returns its id; if its unique key is taken, the id of the task that holds'
    ' the key.';
