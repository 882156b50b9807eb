-- _expire_front: cancel expired tasks among the first that a claim reads.
--
-- Problem: a claim may not hand out a task that has expired, and a million of them may be in front of the one that it may.
-- A condition in the claim's query would read all of them, each time.
-- Idea: a claim takes rows as if nothing expired, and leaves expired ones out when it updates them. Only then it calls this,
-- which cancels a bounded number, and looks again. It also leaves out tasks with keys,
-- which were enqueued after it had read that the queue has none.
--
-- Tasks with a concurrency key are left to _claim_within_limits. Their end makes parked tasks ready, which takes locks of
-- keys, and only the claim that holds the limit lock of the queue gets these without waiting.
--
-- Writes: nothing.
-- Calls: _expire, _mark_queue_keyed, _start_of_line.

create or replace function underway._expire_front(queue text, priorities integer[], now timestamptz, max_tasks integer)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_expired integer := underway._expire(
        array(
            select front.id
            from (select distinct unnest(_expire_front.priorities) as priority) p
            cross join lateral underway._start_of_line(_expire_front.queue, p.priority, _expire_front.now) start (at)
            cross join lateral (
                select t.id, t.expires_at, t.concurrency_key
                from underway.task t
                where t.queue = _expire_front.queue
                  and t.priority = p.priority
                  and t.ready_at between start.at and _expire_front.now
                  and t.state = 'pending'
                  and not t.parked
                order by t.ready_at, t.id
                limit 1000
            ) front
            where front.expires_at <= _expire_front.now
              and front.concurrency_key is null
            limit _expire_front.max_tasks
        ),
        _expire_front.now
    );
begin
    -- Then the claim has met tasks with concurrency keys.
    if v_expired = 0 then
        perform underway._mark_queue_keyed(_expire_front.queue);
    end if;

    return v_expired;
end;
$$;

comment on function underway._expire_front(text, integer[], timestamptz, integer) is
    'Cancel at most max_tasks expired tasks among the first thousand ready ones of each of these priorities. Returns how many'
    ' there were.';
