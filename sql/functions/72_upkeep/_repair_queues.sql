-- _repair_queues: bring pending tasks and their queues into agreement after drop_queue.
--
-- An enqueue that has read a queue before drop_queue committed may add its task afterwards. If the queue still does not
-- exist, the task is cancelled; if it was created again, its priority is recorded.
--
--   pending -> cancelled
--
-- Writes: task.
-- Calls: _conclude, _ensure_priority.

create or replace function underway._repair_queues()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_lane record;
begin
    for v_lane in
        with recursive lane (queue, priority) as (
            (
                select t.queue, t.priority
                from underway.task t
                where t.state = 'pending'
                  and not t.parked
                order by t.queue, t.priority
                limit 1
            )
            union all
            select next.queue, next.priority
            from lane
            cross join lateral (
                select t.queue, t.priority
                from underway.task t
                where t.state = 'pending'
                  and not t.parked
                  and (t.queue, t.priority) > (lane.queue, lane.priority)
                order by t.queue, t.priority
                limit 1
            ) next
        )
        select l.queue, l.priority, q.name is not null as queue_exists
        from lane l
        left join underway.queue q on q.name = l.queue
        left join underway.queue_priority p on p.queue = l.queue and p.priority = l.priority
        where p.queue is null
           or q.name is null
    loop
        if v_lane.queue_exists then
            perform underway._ensure_priority(v_lane.queue, v_lane.priority);
        else
            -- A call of enqueue_many may have parked the other tasks of a concurrency key.
            update underway.task t
            set parked = false
            where t.ctid = any (array(
                select behind.ctid
                from underway.task behind
                where behind.queue = v_lane.queue
                  and behind.parked
                limit 10000
                for no key update skip locked
            ));

            perform underway._conclude(
                array(
                    select t.id
                    from underway.task t
                    where t.queue = v_lane.queue
                      and t.priority = v_lane.priority
                      and t.state = 'pending'
                      and not t.parked
                    order by t.id
                    limit 1000
                    for update skip locked
                ),
                null, 'cancelled'
            );
        end if;
    end loop;
end;
$$;

comment on function underway._repair_queues() is
    'Cancel pending tasks whose queue was dropped, and record priorities that a queue created again does not know.';
