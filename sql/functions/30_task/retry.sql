-- retry: a task that failed or was cancelled begins anew, with all its attempts. Its earlier errors stay with it.
--
--   failed | cancelled -> pending
--
-- Writes: task, task_history.
-- Refuses: UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state.

create or replace function underway.retry(task bigint)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_now  timestamptz := underway._clock_of_writer();
    v_gone underway.task_history;
begin
    -- Its dead letter is withdrawn, so that the work is not done twice. One that is being handled now is left alone.
    -- The letter before the history: redrive locks in this order.
    perform underway._finish(
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

    perform underway._recall_errors(array[retry.task]);

    delete from underway.task_history h
    where h.id = retry.task
      and h.state in ('failed', 'cancelled')
    returning * into v_gone;

    if not found then
        perform underway._wrong_state(retry.task, 'is retried', 'failed or cancelled');
    end if;

    if not exists (select from underway.queue q where q.name = v_gone.queue) then
        perform underway._queue_not_found(v_gone.queue);
    end if;

    insert into underway.task (
        id, queue, job, input, priority, ready_at, enqueued_at, retry_policy, timeout, heartbeat, ttl, headers,
        dead_letter, has_errors
    )
    values (
        v_gone.id, v_gone.queue, v_gone.job, v_gone.input, v_gone.priority,
        underway._open_lane(v_gone.queue, v_gone.priority, v_now), v_gone.enqueued_at,
        v_gone.retry_policy, v_gone.timeout, v_gone.heartbeat, v_gone.ttl, v_gone.headers,
        v_gone.dead_letter, v_gone.errors is not null
    );

    perform underway._wake(v_gone.queue);
end;
$$;

comment on function underway.retry(bigint) is
    'Make a failed or cancelled task pending again with fresh attempts. A dead letter of it that waits is withdrawn.';
