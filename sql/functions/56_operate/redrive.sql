-- redrive: dead letters go back to the queues they came from, as the tasks they were.
--
--   failed -> pending
--
-- Writes: task, task_history.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.redrive(queue text, max_tasks integer default 1000)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_now      timestamptz := underway._clock_after_xid();
    v_letter   record;
    v_ended    underway.finished_task;
    v_count    integer := 0;
begin
    perform underway._check_claim(array[redrive.queue], redrive.max_tasks);

    -- In the order of their unique keys, as enqueue_unique takes them.
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
            where t.queue = redrive.queue
              and t.state = 'pending'
              and t.dead_letter is not null
            order by t.id
            limit redrive.max_tasks
            for update skip locked
        ) letter
        order by letter.unique_key nulls first, letter.id
    loop
        if not exists (select from underway.queue q where q.name = v_letter.origin_queue) then
            perform underway._raise_queue_not_found(v_letter.origin_queue);
        end if;

        -- Somebody has retried the task by itself meanwhile, or is about to: the letter has nothing left to say.
        perform from underway.task_history h where h.id = v_letter.origin_task for update;
        if exists (select from underway.task t where t.id = v_letter.origin_task)
           or exists (
               select from underway.task_history h where h.id = v_letter.origin_task and h.state <> 'failed'
           ) then
            perform underway._conclude(array[v_letter.id], null, 'cancelled');
            continue;
        end if;

        -- The task as the letter has kept it. While another has its unique key, the letter stays.
        insert into underway.task (
            id, queue, unique_key, concurrency_key, job, input, priority, ready_at, enqueued_at, retry_policy, timeout,
            heartbeat, retention, headers, errors, dead_letter, in_batch
        )
        select
            v_letter.origin_task, v_letter.origin_queue, v_letter.unique_key, v_letter.concurrency_key, t.job, t.input,
            t.priority, underway._ensure_priority(v_letter.origin_queue, t.priority, v_now),
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

        -- The task has its own errors; if it has left the history, the letter knows the last of them.
        delete from underway.task t
        where t.id = v_letter.id
        returning t.id, t.queue, t.concurrency_key, t.watched, t.in_batch, t.limited, t.parked into v_ended;
        perform underway._evaluate_batches(underway._record_ends(array[v_ended], 'cancelled'));
        delete from underway.task_history h where h.id = v_letter.origin_task;

        perform underway._reactivate_in_batches(v_letter.origin_task);
        perform underway._wake(v_letter.origin_queue);
        v_count := v_count + 1;
    end loop;

    return v_count;
end;
$$;

comment on function underway.redrive(text, integer) is
    'Move at most max_tasks waiting dead letters of a queue back to where they came from, under their own ids and with'
    ' fresh attempts; one whose unique key is taken meanwhile stays. Returns how many went.';
