-- task_info: all that is stored about one task, live or finished.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway.task_info(task bigint)
returns setof underway.task_info
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
    return query
    select
        t.id, t.queue::text, t.job, t.state, t.priority, t.attempt,
        (coalesce(t.retry_policy, j.retry_policy, q.retry_policy)).max_attempts,
        t.input, null::jsonb, t.headers, t.progress,
        t.errors, t.dead_letter, t.enqueued_at, t.ready_at, t.started_at, t.lease_expires_at,
        null::timestamptz, null::timestamptz,
        (select w.name from underway.worker w where w.id = t.worker),
        t.unique_key::text, t.concurrency_key::text, t.expires_at, null::text
    from underway.task t
    left join underway.job j on j.name = t.job
    left join underway.queue q on q.name = t.queue
    where t.id = task_info.task;

    -- Apart, because each session plans this for all partitions of the history.
    if found then
        return;
    end if;

    return query
    select
        h.id, h.queue::text, h.job, h.state, h.priority, h.attempt,
        (coalesce(h.retry_policy, j.retry_policy, q.retry_policy)).max_attempts,
        h.input, h.output, h.headers, null::jsonb, h.errors,
        h.dead_letter, h.enqueued_at, null::timestamptz, h.started_at, null::timestamptz, h.finished_at, h.kept_until,
        (select w.name from underway.worker w where w.id = h.worker),
        h.unique_key::text, h.concurrency_key::text, h.expires_at, h.reason
    from underway.task_history h
    left join underway.job j on j.name = h.job
    left join underway.queue q on q.name = h.queue
    where h.id = task_info.task;
end;
$$;

comment on function underway.task_info(bigint) is
    'All that is stored about one task, live or finished, with the errors of its attempts. No row if no task has this id.';
