-- dequeue: claim ready tasks of some queues: the highest priority first, then the longest ready.
--
--   pending -> in_progress
--
-- Writes: task.
-- Refuses: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.dequeue(queues text[], max_tasks integer default 1, worker bigint default null)
returns setof underway.claimed_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
-- A plan is kept for the session: none made for an empty table may read a full one from end to end.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_now     timestamptz := underway._clock();
    v_lease   uuid := gen_random_uuid();
    v_left    integer := dequeue.max_tasks;
    v_claimed integer;
    v_lane    record;
begin
    perform underway._check_claim(dequeue.queues, dequeue.max_tasks);

    -- Among queues of one priority chance decides which is served first, so that none starves.
    for v_lane in
        select l.queue, l.priority, q.timeout, q.heartbeat
        from underway.lane l
        join underway.queue q on q.name = l.queue
        where l.queue = any (dequeue.queues)
          and q.paused_at is null
        group by l.queue, l.priority, q.name
        order by l.priority desc, random()
    loop
        exit when v_left = 0;

        return query
        with claimed as (
            update underway.task t
            set
                state = 'in_progress',
                attempt = t.attempt + 1,
                started_at = v_now,
                lease = v_lease,
                lease_expires_at = v_now + coalesce(t.heartbeat, v_lane.heartbeat),
                worker = dequeue.worker
            where t.ctid = any (array(
                select ready.ctid
                from underway.task ready
                where ready.queue = v_lane.queue
                  and ready.priority = v_lane.priority
                  and ready.ready_at <= v_now
                  and ready.state = 'pending'
                order by ready.ready_at, ready.id
                limit v_left
                for no key update skip locked
            ))
            returning t.*
        )
        select
            c.id, c.queue, c.job, c.input, c.attempt, c.lease,
            coalesce(c.timeout, v_lane.timeout), coalesce(c.heartbeat, v_lane.heartbeat),
            c.headers, c.priority, c.enqueued_at, c.dead_letter
        from claimed c
        order by c.ready_at, c.id;

        get diagnostics v_claimed = row_count;
        v_left := v_left - v_claimed;
    end loop;
end;
$$;

comment on function underway.dequeue(text[], integer, bigint) is
    'Claim at most max_tasks ready tasks of the queues, under one lease. Never waits, and returns at once when there are'
    ' none.';

create or replace function underway.dequeue(queue text, max_tasks integer default 1, worker bigint default null)
returns setof underway.claimed_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from underway.dequeue(array[dequeue.queue], dequeue.max_tasks, dequeue.worker);
end;
$$;

comment on function underway.dequeue(text, integer, bigint) is 'Claim at most max_tasks ready tasks of a queue.';
