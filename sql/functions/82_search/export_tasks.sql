-- export_tasks: tasks as the objects that enqueue_many takes, with what has become of them so far.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway.export_tasks(tasks bigint[])
returns setof jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set intervalstyle = 'iso_8601' -- which each session reads, whatever its own style is
set enable_seqscan = off
set jit = off
as $$
begin
    -- Options that are not set are left out, as in an object for enqueue_many. An input that is null is one.
    return query
    select
        (
            select jsonb_object_agg(given.name, given.value)
            from jsonb_each(to_jsonb(exported)) as given (name, value)
            where given.value <> 'null' or given.name = 'input'
        )
    from (
        select
            t.id, t.state, t.queue, t.job, t.input, t.headers, t.priority, t.unique_key,
            case when t.unique_until_start and t.unique_key is not null then 'start' end as unique_until, t.concurrency_key,
            case when t.state = 'pending' then t.ready_at end as run_at, t.expires_at, t.retry_policy, t.timeout,
            t.heartbeat, t.retention, t.attempt, t.enqueued_at, t.started_at, null::timestamptz as finished_at,
            null::text as reason, null::jsonb as output, t.errors, t.dead_letter
        from underway.task t
        where t.id = any (export_tasks.tasks)
        union all
        select
            h.id, h.state, h.queue, h.job, h.input, h.headers, h.priority, h.unique_key, null, h.concurrency_key, null,
            h.expires_at, h.retry_policy, h.timeout, h.heartbeat, h.retention, h.attempt, h.enqueued_at, h.started_at,
            h.finished_at, h.reason, h.output, h.errors, h.dead_letter
        from underway.task_history h
        where h.id = any (export_tasks.tasks)
        order by 1
    ) exported;
end;
$$;

comment on function underway.export_tasks(bigint[]) is
    'Tasks, live or finished, as JSON objects in the order of their ids: the options that enqueue_many takes, and id, state,'
    ' attempt, times, reason, output, errors and dead_letter. Those that do not exist are left out.';
