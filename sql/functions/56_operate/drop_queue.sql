-- drop_queue: remove a queue, with force also its live tasks. Finished tasks stay in the history for their retention; the
-- unique keys that they hold become free. The handlers of running tasks are interrupted.
--
--   pending | waiting | in_progress -> cancelled
--
-- It waits for transactions that have claimed from the queue or hold its tasks. An enqueue that is under way and commits
-- later still adds its task; maintain() cancels it.
--
-- Writes: unique_reservation, queue_length, ready_key, paused_key, token_bucket, watermark, queue_priority, queue.
-- Calls: _conclude, _lock_claims, _raise_queue_not_found.
-- Raises: UW003 queue_not_found, UW006 queue_in_use.

create or replace function underway.drop_queue(name text, force boolean default false)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tasks   bigint[];
    v_running bigint[];
begin
    perform underway._lock_claims(drop_queue.name);
    perform from underway.queue q where q.name = drop_queue.name for update;
    if not found then
        perform underway._raise_queue_not_found(drop_queue.name);
    end if;

    if drop_queue.force is not true and exists (select from underway.task t where t.queue = drop_queue.name) then
        raise exception using
            errcode = 'UW006',
            message = format('queue %L still has live tasks', drop_queue.name),
            hint = format(
                'Wait until they have finished, or cancel them: select underway.drop_queue(%L, force => true);',
                drop_queue.name
            );
    end if;

    select array_agg(locked.id), array_agg(locked.id) filter (where locked.state = 'in_progress')
    into v_tasks, v_running
    from (
        select t.id, t.state from underway.task t where t.queue = drop_queue.name order by t.id for update
    ) locked;
    perform underway._conclude(coalesce(v_tasks, '{}'), null, 'cancelled');
    perform pg_notify('underway_cancelled', running.id::text) from unnest(v_running) as running (id);

    delete from underway.unique_reservation r where r.queue = drop_queue.name;
    delete from underway.ready_key k where k.queue = drop_queue.name;
    delete from underway.paused_key k where k.queue = drop_queue.name;
    delete from underway.queue_length l where l.queue = drop_queue.name;
    delete from underway.token_bucket b where b.queue = drop_queue.name;
    delete from underway.watermark w where w.queue = drop_queue.name;
    delete from underway.queue_priority p where p.queue = drop_queue.name;
    delete from underway.queue q where q.name = drop_queue.name;
end;
$$;

comment on function underway.drop_queue(text, boolean) is
    'Remove a queue. A queue that has live tasks is refused, unless force is given: then they are cancelled, and running'
    ' handlers are interrupted. Waits for transactions that have claimed from it.';
