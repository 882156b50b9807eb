-- dequeue: claim ready tasks of one queue, through the form for several queues.
--
--   pending -> in_progress
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.dequeue(queue text, max_tasks integer default 1, worker bigint default null)
returns setof underway.claimed_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
    return query select * from underway.dequeue(array[dequeue.queue], dequeue.max_tasks, dequeue.worker);
end;
$$;

comment on function underway.dequeue(text, integer, bigint) is 'Claim at most max_tasks ready tasks of a queue.';
