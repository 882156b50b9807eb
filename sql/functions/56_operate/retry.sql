-- retry: make a failed or cancelled task pending again, with all its attempts. It keeps its earlier errors.
--
--   failed | cancelled -> pending
--
-- Writes: task, task_history.
-- Calls: _conclude, _earliest_ready_at, _ensure_priority, _raise_queue_not_found, _raise_unique_conflict,
--   _raise_wrong_state, _reactivate_in_batches, _wake.
-- Raises: UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state, UW010 unique_conflict.

create or replace function underway.retry(task bigint)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_history_row   underway.task_history;
    v_holder bigint;
begin
    -- Cancel its dead letter, so that the work is not done twice. A letter that is being handled now is left alone.
    -- The letter is locked before the history, as in redrive.
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
    returning * into v_history_row;

    if not found then
        perform underway._raise_wrong_state(retry.task, 'is retried', 'failed or cancelled');
    end if;

    if not exists (select from underway.queue q where q.name = v_history_row.queue) then
        perform underway._raise_queue_not_found(v_history_row.queue);
    end if;

    -- Another live task may have the unique key. Repeat when it has ended between the insert and the look-up.
    loop
        insert into underway.task (
            id, queue, unique_key, concurrency_key, job, input, priority, ready_at, enqueued_at, retry_policy, timeout,
            heartbeat, retention, headers, dead_letter, errors, in_batch
        )
        values (
            v_history_row.id, v_history_row.queue, v_history_row.unique_key, v_history_row.concurrency_key,
            v_history_row.job, v_history_row.input, v_history_row.priority,
            underway._earliest_ready_at(v_history_row.queue, v_history_row.priority), v_history_row.enqueued_at,
            v_history_row.retry_policy, v_history_row.timeout, v_history_row.heartbeat, v_history_row.retention,
            v_history_row.headers, v_history_row.dead_letter, v_history_row.errors, true
        )
        on conflict (queue, unique_key) where unique_key is not null do nothing;
        exit when found;

        select t.id
        into v_holder
        from underway.task t
        where t.queue = v_history_row.queue
          and t.unique_key = v_history_row.unique_key;
        if found then
            perform underway._raise_unique_conflict(v_history_row.queue, v_history_row.unique_key, v_holder);
        end if;
    end loop;

    perform underway._reactivate_in_batches(v_history_row.id);
    perform underway._ensure_priority(v_history_row.queue, v_history_row.priority);
    perform underway._wake(v_history_row.queue);
end;
$$;

comment on function underway.retry(bigint) is
    'Make a failed or cancelled task pending again with fresh attempts. A waiting dead letter of it is cancelled.'
    ' Refused while another live task has its unique key.';
