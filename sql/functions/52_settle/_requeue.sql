-- _requeue: make running tasks pending again: retry after a failure, snooze, release, reclaim. The caller has locked them.
--
-- With an error the attempt has failed and counts. Without an error the attempt does not count. Without a time the task
-- keeps its place.
--
--   in_progress -> pending
--
-- Writes: task.
-- Calls: _append_error, _clock, _earliest_ready_at, _front_at, _lock_front, _release_slots, _wake.

create or replace function underway._requeue(
    tasks bigint[],
    ready_at timestamptz[] default null,
    errors jsonb[] default null
)
returns setof underway.failed_task
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now      timestamptz := underway._clock();
    v_requeued underway.failed_task[];
    v_queues   text[];
    v_ready_at timestamptz[];
    v_keys     text[];
begin
    -- Without a time a task keeps its place in front of the line.
    if _requeue.ready_at is null or array_position(_requeue.ready_at, null) is not null then
        perform underway._lock_front(array(select t.queue from underway.task t where t.id = any (_requeue.tasks)));
    end if;

    with requeued as (
        update underway.task t
        set
            state = 'pending',
            ready_at = case
                when given.ready_at is null then underway._front_at(t.queue, t.priority, t.ready_at)
                else greatest(given.ready_at, underway._earliest_ready_at(t.queue, t.priority))
            end,
            attempt = case when given.error is null then t.attempt - 1 else t.attempt end,
            errors = case when given.error is null then t.errors else underway._append_error(t.errors, given.error) end,
            -- Once an attempt has counted, the task does not expire any more.
            expires_at = case when given.error is null then t.expires_at end,
            started_at = null,
            lease = null,
            lease_expires_at = null,
            holds_slot = false
        from unnest(_requeue.tasks, _requeue.ready_at, _requeue.errors) as given (task, ready_at, error)
        where t.id = any (_requeue.tasks)
          and given.task = t.id
        returning t.id, t.queue, t.ready_at, t.concurrency_key
    )
    select
        array_agg(row(r.id, 'pending', r.ready_at)::underway.failed_task order by r.id),
        array_agg(r.queue), array_agg(r.ready_at), array_agg(r.concurrency_key)
    into v_requeued, v_queues, v_ready_at, v_keys
    from requeued r;

    if array_remove(v_keys, null) <> '{}' then
        perform underway._release_slots(v_queues, v_keys);
    end if;

    -- In a queue with max_running another task may start now.
    perform underway._wake(ready.queue, case
        when (select q.max_running from underway.queue q where q.name = ready.queue) is null then min(ready.at) - v_now
        else '0'
    end)
    from unnest(v_queues, v_ready_at) as ready (queue, at)
    group by ready.queue;

    return query select * from unnest(v_requeued);
end;
$$;

comment on function underway._requeue(bigint[], timestamptz[], jsonb[]) is
    'Make tasks that the caller has locked pending again, each at its time or in its place, with the error of its'
    ' attempt; without an error the attempt does not count. Frees their slots and wakes workers. Returns when each'
    ' will be ready.';
