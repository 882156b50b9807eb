-- run_again: enqueue a copy of a task, live or finished.
--
--   -> pending
--
-- Writes: nothing.
-- Calls: _raise_wrong_state, enqueue.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW007 input_too_large,
--   UW010 unique_conflict, UW011 queue_full.

create or replace function underway.run_again(task bigint, input jsonb default null)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_task record;
begin
    select found_task.*
    into v_task
    from (
        select
            t.queue, t.job, t.input, t.priority, t.headers, t.unique_key, t.concurrency_key, t.retry_policy, t.timeout,
            t.heartbeat, t.retention
        from underway.task t
        where t.id = run_again.task
        union all
        select
            h.queue, h.job, h.input, h.priority, h.headers, h.unique_key, h.concurrency_key, h.retry_policy, h.timeout,
            h.heartbeat, h.retention
        from underway.task_history h
        where h.id = run_again.task
    ) found_task;

    if not found then
        perform underway._raise_wrong_state(run_again.task, 'is run again', 'known');
    end if;

    return underway.enqueue(
        v_task.queue,
        coalesce(run_again.input, v_task.input),
        job => v_task.job,
        priority => v_task.priority,
        headers => v_task.headers,
        unique_key => v_task.unique_key,
        on_conflict => case when v_task.unique_key is null then 'return' else 'error' end,
        concurrency_key => v_task.concurrency_key,
        retry_policy => v_task.retry_policy,
        timeout => v_task.timeout,
        heartbeat => v_task.heartbeat,
        retention => v_task.retention
    );
end;
$$;

comment on function underway.run_again(bigint, jsonb) is
    'Enqueue a copy of a task, live or finished, with another input if one is given. It has the queue, job, priority, headers,'
    ' keys and policy of the task. Returns the id of the copy. Refused while a live task has its unique key.';
