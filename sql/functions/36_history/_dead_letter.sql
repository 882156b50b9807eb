-- _dead_letter: enqueue a dead letter for each task that fails permanently and whose job or queue has a dead-letter queue.
--
-- Writes: task.
-- Calls: _clock, _earliest_ready_at, _ensure_priority, _wake.

create or replace function underway._dead_letter(tasks bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    v_now   timestamptz := underway._clock();
    v_lane  record;
begin
    -- The dead letter is a task of its own, pending in another queue. It holds what redrive needs to restore the task.
    for v_lane in
        with letter as (
            insert into underway.task (
                queue, job, input, priority, ready_at, enqueued_at, retry_policy, timeout, heartbeat, retention, headers,
                dead_letter
            )
            select
                d.queue, t.job, t.input, t.priority,
                underway._earliest_ready_at(d.queue, t.priority), v_now, t.retry_policy, t.timeout, t.heartbeat,
                t.retention, t.headers,
                jsonb_build_object(
                    'task', t.id, 'queue', t.queue, 'enqueued_at', t.enqueued_at, 'attempts', t.attempt,
                    'failed_at', t.errors -> -1 -> 'failed_at', 'error', t.errors -> -1
                ) || jsonb_strip_nulls(jsonb_build_object(
                    'unique_key', t.unique_key, 'concurrency_key', t.concurrency_key
                )) || case when t.dead_letter is null then '{}' else jsonb_build_object('dead_letter', t.dead_letter) end
            from underway.task t
            join underway.queue q on q.name = t.queue
            left join underway.job j on j.name = t.job
            -- A dead letter that fails goes where its queue says: that of its job is the queue in which it is.
            cross join lateral (
                select coalesce(
                    case when t.dead_letter is null then nullif(j.dead_letter_queue, t.queue) end, q.dead_letter_queue
                ) as queue
            ) d
            where t.id = any (_dead_letter.tasks)
              and d.queue is not null
            order by t.id
            returning queue, priority
        )
        select distinct l.queue, l.priority from letter l
    loop
        perform underway._ensure_priority(v_lane.queue, v_lane.priority);
        perform underway._wake(v_lane.queue);
    end loop;
end;
$$;

comment on function underway._dead_letter(bigint[]) is
    'Enqueue a dead letter for each of these tasks whose job or queue has a dead-letter queue.';
