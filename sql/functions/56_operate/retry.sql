-- retry: a task that failed or was cancelled begins anew, with all its attempts. Its earlier errors stay with it.
--
--   failed | cancelled -> pending
--
-- Writes: task, task_history.
-- Raises: UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state, UW010 unique_conflict.

create or replace function underway.retry(task bigint)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now    timestamptz := underway._clock_after_xid();
    v_gone   underway.task_history;
    v_holder bigint;
begin
    -- Its dead letter is withdrawn, so that the work is not done twice. One that is being handled now is left alone.
    -- The letter before the history: redrive locks in this order.
    perform underway._conclude(
        array(
            select t.id
            from underway.task t
            where (t.dead_letter ->> 'task')::bigint = retry.task
              and t.dead_letter is not null
              and t.state = 'pending'
            for update
        ),
        null, 'cancelled'
    );

    delete from underway.task_history h
    where h.id = retry.task
      and h.state in ('failed', 'cancelled')
    returning * into v_gone;

    if not found then
        perform underway._raise_wrong_state(retry.task, 'is retried', 'failed or cancelled');
    end if;

    if not exists (select from underway.queue q where q.name = v_gone.queue) then
        perform underway._raise_queue_not_found(v_gone.queue);
    end if;

    -- Another live task may have the key; until it is settled, for that one may be gone when it is looked for.
    loop
        insert into underway.task (
            id, queue, unique_key, concurrency_key, job, input, priority, ready_at, enqueued_at, retry_policy, timeout,
            heartbeat, retention, headers, dead_letter, errors, in_batch
        )
        values (
            v_gone.id, v_gone.queue, v_gone.unique_key, v_gone.concurrency_key, v_gone.job, v_gone.input, v_gone.priority,
            underway._ensure_priority(v_gone.queue, v_gone.priority, v_now), v_gone.enqueued_at,
            v_gone.retry_policy, v_gone.timeout, v_gone.heartbeat, v_gone.retention, v_gone.headers,
            v_gone.dead_letter, v_gone.errors, true
        )
        on conflict (queue, unique_key) where unique_key is not null do nothing;
        exit when found;

        select t.id
        into v_holder
        from underway.task t
        where t.queue = v_gone.queue
          and t.unique_key = v_gone.unique_key;
        if found then
            perform underway._raise_unique_conflict(v_gone.queue, v_gone.unique_key, v_holder);
        end if;
    end loop;

    perform underway._reactivate_in_batches(v_gone.id);
    perform underway._wake(v_gone.queue);
end;
$$;

comment on function underway.retry(bigint) is
    'Make a failed or cancelled task pending again with fresh attempts. A dead letter of it that waits is withdrawn.'
    ' Refused while another live task has its unique key.';
