-- _insert_moved: insert tasks that a move has taken out of a database, with their ids, errors and places in the queue.
--
-- As many due tasks of a concurrency key are inserted ready as may run, and the others parked, as enqueue does.
--
--   -> pending
--
-- Writes: task, moved_task, unique_reservation.
-- Calls: _clock, _ensure_priority, _front_at, _lock_front, _mark_queue_keyed, _raise_queue_not_found, _wake.
-- Raises: UW003 queue_not_found.

create or replace function underway._insert_moved(tasks jsonb)
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now        timestamptz;
    v_queue      text := _insert_moved.tasks -> 0 ->> 'queue'; -- a batch has one
    v_tasks      underway.task[] := array(
        select t from jsonb_populate_recordset(null::underway.task, _insert_moved.tasks) t
    );
    v_ids        bigint[] := array(select t.id from unnest(v_tasks) t);
    v_known      bigint[] := array(select h.id from underway.task_history h where h.id = any (v_ids));
    v_inserted   bigint[];
    v_priorities integer[];
    v_has_keys   boolean;
    v_has_unique boolean;
begin
    if not exists (select from underway.queue q where q.name = v_queue) then
        perform underway._raise_queue_not_found(v_queue);
    end if;

    perform underway._lock_front(array[v_queue]);
    v_now := underway._clock();

    -- In the order of their unique keys, as enqueue locks them.
    with front as (
        select used.priority, underway._front_at(v_queue, used.priority, '-infinity') as ready_at
        from (select distinct t.priority from unnest(v_tasks) t) used
    ),
    inserted as (
        insert into underway.task (
            id, ready_at, enqueued_at, started_at, expires_at, worker, priority, attempt, watched, parked, queue, unique_key,
            unique_until_start, concurrency_key, job, input, headers, progress, errors, dead_letter, retry_policy, timeout,
            heartbeat, retention
        )
        select
            t.id, greatest(t.ready_at, f.ready_at), t.enqueued_at, t.started_at, t.expires_at, t.worker, t.priority,
            t.attempt, t.watched,
            t.concurrency_key is not null and t.ready_at <= v_now and row_number() over (
                partition by t.concurrency_key, t.ready_at <= v_now order by t.priority desc, t.ready_at, t.id
            ) > case when q.fair then 1 else q.max_running_per_key end,
            t.queue, t.unique_key, t.unique_until_start, t.concurrency_key, t.job,
            coalesce(t.input, 'null'), -- the input that is a JSON null
            t.headers, t.progress, t.errors, t.dead_letter, t.retry_policy, t.timeout, t.heartbeat, t.retention
        from unnest(v_tasks) t
        join front f on f.priority = t.priority
        join underway.queue q on q.name = t.queue
        where t.id <> all (v_known)
        order by t.unique_key nulls first, t.id
        on conflict do nothing
        returning id, priority, concurrency_key, unique_key
    )
    select
        coalesce(array_agg(i.id), '{}'), coalesce(array_agg(distinct i.priority), '{}'),
        bool_or(i.concurrency_key is not null), bool_or(i.unique_key is not null)
    into v_inserted, v_priorities, v_has_keys, v_has_unique
    from inserted i;

    if v_has_unique then
        insert into underway.unique_reservation (queue, unique_key, task, expires_at)
        select
            v_queue, e.task ->> 'unique_key', (e.task ->> 'id')::bigint, (e.task ->> 'reserved_until')::timestamptz
        from jsonb_array_elements(_insert_moved.tasks) as e (task)
        where e.task ->> 'reserved_until' is not null
          and (e.task ->> 'id')::bigint = any (v_inserted)
        order by 2
        on conflict do nothing;
    end if;

    -- Of tasks that have come back.
    delete from underway.moved_task m where m.id = any (v_inserted);

    perform underway._ensure_priority(v_queue, used.priority) from unnest(v_priorities) as used (priority);
    if v_has_keys then
        perform underway._mark_queue_keyed(v_queue);
    end if;
    perform underway._wake(v_queue);

    return array(select unnest(v_ids) except select unnest(v_inserted));
end;
$$;

comment on function underway._insert_moved(jsonb) is
    'Insert the tasks of one batch of a move. Returns the ids of refused tasks: those whose id or unique key another task'
    ' already has.';
