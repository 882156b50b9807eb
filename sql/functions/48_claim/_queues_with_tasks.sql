-- _queues_with_tasks: those of many queues that have a pending task or a due row in ready_key, found by jumping from queue to
-- queue in the ready index: the cost depends on the number of queues that have tasks, not on the number that is given. It
-- does not use watermarks, so it reads the dead entries in front of each queue; dequeue calls it for more than 50 queues.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._queues_with_tasks(queues text[], now timestamptz)
returns text[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    return array(
        with recursive busy (queue) as (
            (
                select t.queue
                from underway.task t
                where t.state = 'pending'
                  and not t.parked
                order by t.queue
                limit 1
            )
            union all
            select next.queue
            from busy
            cross join lateral (
                select t.queue
                from underway.task t
                where t.state = 'pending'
                  and not t.parked
                  and t.queue > busy.queue
                order by t.queue
                limit 1
            ) next
        ),
        found (queue) as (
            select b.queue from busy b
            union all
            select r.queue from underway.ready_key r where r.check_at <= _queues_with_tasks.now
        )
        -- A few are compared with the names one by one; for many it is faster to hash all names.
        select f.queue
        from found f
        where (select count(*) from found) <= 20
          and f.queue = any (_queues_with_tasks.queues)
        union all
        (
            select f.queue from found f where (select count(*) from found) > 20
            intersect
            select unnest(_queues_with_tasks.queues) where (select count(*) from found) > 20
        )
    );
end;
$$;

comment on function underway._queues_with_tasks(text[], timestamptz) is
    'Those of these queues that have pending tasks outside the parked ones, or keys to look at by now.';
