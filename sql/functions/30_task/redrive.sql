-- redrive: dead letters go back to the queues they came from, as the tasks they were.
--
--   failed -> pending
--
-- Writes: task, task_history, attempt.
-- Refuses: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.redrive(queue text, max_tasks integer default 1000)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_now     timestamptz := underway._clock_of_writer();
    v_letter  record;
    v_count   integer := 0;
begin
    perform underway._check_claim(array[redrive.queue], redrive.max_tasks);

    for v_letter in
        select
            t.id, t.priority, t.dead_letter,
            (t.dead_letter ->> 'task')::bigint as origin_task,
            t.dead_letter ->> 'queue' as origin_queue
        from underway.task t
        where t.queue = redrive.queue
          and t.state = 'pending'
          and t.dead_letter is not null
        order by t.id
        limit redrive.max_tasks
        for update skip locked
    loop
        if not exists (select from underway.queue q where q.name = v_letter.origin_queue) then
            perform underway._queue_not_found(v_letter.origin_queue);
        end if;

        -- Somebody has retried the task by itself meanwhile, or is about to: the letter has nothing left to say.
        perform from underway.task_history h where h.id = v_letter.origin_task for update;
        if exists (select from underway.task t where t.id = v_letter.origin_task)
           or exists (
               select from underway.task_history h where h.id = v_letter.origin_task and h.state <> 'failed'
           ) then
            perform underway._finish(array[v_letter.id], null, 'cancelled');
            continue;
        end if;

        -- The task has its own errors; if it has left the history, the letter knows the last of them.
        delete from underway.attempt a where a.task = v_letter.id;
        perform underway._recall_errors(array[v_letter.origin_task]);
        delete from underway.task_history h where h.id = v_letter.origin_task;
        if not found then
            insert into underway.attempt (task, attempt, failed_at, error)
            values (
                v_letter.origin_task, (v_letter.dead_letter ->> 'attempts')::integer,
                (v_letter.dead_letter ->> 'failed_at')::timestamptz, v_letter.dead_letter -> 'error'
            );
        end if;

        -- The row of the letter becomes the task again.
        update underway.task t
        set
            id = v_letter.origin_task,
            queue = v_letter.origin_queue,
            ready_at = underway._open_lane(v_letter.origin_queue, v_letter.priority, v_now),
            attempt = 0,
            has_errors = true,
            watched = false,
            worker = null,
            progress = null,
            enqueued_at = (t.dead_letter ->> 'enqueued_at')::timestamptz,
            dead_letter = t.dead_letter -> 'dead_letter'
        where t.id = v_letter.id;

        perform underway._wake(v_letter.origin_queue);
        v_count := v_count + 1;
    end loop;

    return v_count;
end;
$$;

comment on function underway.redrive(text, integer) is
    'Move at most max_tasks waiting dead letters of a queue back to where they came from, under their own ids and with'
    ' fresh attempts. Returns how many went.';
