-- _redrive: move these dead letters back to the queues that they came from, as the tasks that they were.
--
-- A letter stays while another task has its unique key, when its queue was dropped, and while another session has locked it.
--
--   failed -> pending
--
-- Writes: task, task_history.
-- Calls: _conclude, _earliest_ready_at, _ensure_priority, _evaluate_batches, _reactivate_in_batches, _record_ends, _wake.

create or replace function underway._redrive(letters bigint[])
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_letter record;
    v_ended  underway.finished_task;
    v_moved  bigint[] := '{}';
begin
    -- In the order of their unique keys, as enqueue_unique locks them.
    for v_letter in
        select letter.*
        from (
            select
                t.id, t.priority,
                (t.dead_letter ->> 'task')::bigint as origin_task,
                t.dead_letter ->> 'queue' as origin_queue,
                t.dead_letter ->> 'unique_key' collate "C" as unique_key,
                t.dead_letter ->> 'concurrency_key' as concurrency_key
            from underway.task t
            where t.id = any (_redrive.letters)
              and t.state = 'pending'
              and t.dead_letter is not null
              and (select true from underway.queue q where q.name = t.dead_letter ->> 'queue')
            order by t.id
            for update skip locked
        ) letter
        order by letter.unique_key nulls first, letter.id
    loop
        -- If the task was retried by itself meanwhile, the letter is not needed any more.
        perform from underway.task_history h where h.id = v_letter.origin_task for update;
        if exists (select from underway.task t where t.id = v_letter.origin_task)
           or exists (
               select from underway.task_history h where h.id = v_letter.origin_task and h.state <> 'failed'
           ) then
            perform underway._conclude(array[v_letter.id], null, 'cancelled');
            continue;
        end if;

        -- The task as it is kept in the letter, with the errors that the history has; if it has left the history, with
        -- the last error, which is in the letter.
        insert into underway.task (
            id, queue, unique_key, concurrency_key, job, input, priority, ready_at, enqueued_at, retry_policy, timeout,
            heartbeat, retention, headers, errors, dead_letter, in_batch
        )
        select
            v_letter.origin_task, v_letter.origin_queue, v_letter.unique_key, v_letter.concurrency_key, t.job, t.input,
            t.priority, underway._earliest_ready_at(v_letter.origin_queue, t.priority),
            (t.dead_letter ->> 'enqueued_at')::timestamptz, t.retry_policy, t.timeout, t.heartbeat, t.retention, t.headers,
            coalesce(
                (select h.errors from underway.task_history h where h.id = v_letter.origin_task),
                jsonb_build_array(t.dead_letter -> 'error')
            ),
            t.dead_letter -> 'dead_letter', true
        from underway.task t
        where t.id = v_letter.id
        on conflict (queue, unique_key) where unique_key is not null do nothing;

        if not found then
            continue;
        end if;

        delete from underway.task_history h where h.id = v_letter.origin_task;
        delete from underway.task t
        where t.id = v_letter.id
        returning t.id, t.queue, t.concurrency_key, t.watched, t.in_batch, t.holds_slot, t.parked into v_ended;
        perform underway._evaluate_batches(underway._record_ends(array[v_ended], 'cancelled'));

        perform underway._reactivate_in_batches(v_letter.origin_task);
        perform underway._ensure_priority(v_letter.origin_queue, v_letter.priority);
        perform underway._wake(v_letter.origin_queue);
        v_moved := v_moved || v_letter.id;
    end loop;

    return v_moved;
end;
$$;

comment on function underway._redrive(bigint[]) is
    'Move those of these dead letters back to where they came from that can be. Returns their ids.';
