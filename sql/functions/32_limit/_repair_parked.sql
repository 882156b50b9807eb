-- _repair_parked: make tasks ready that are parked although their key has free slots.
--
-- That happens where a slot was freed and the parked task could not be seen or changed: its row was locked, the snapshot
-- was an old one, or max_running_per_key was raised. Walks over the concurrency keys in use, from the given one on.
--
-- Writes: nothing.
-- Calls: _clock, _key_capacity, _unpark.

create or replace function underway._repair_parked(
    inout queue text,
    inout key text,
    max_keys integer
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now    timestamptz := underway._clock();
    v_queues text[];
    v_keys   text[];
    v_slots  integer[];
    v_seen   bigint;
begin
    with recursive keyed (queue, key, number) as (
        (
            select t.queue, t.concurrency_key, 1
            from underway.task t
            where not t.holds_slot
              and t.concurrency_key is not null
              and (t.queue, t.holds_slot, t.concurrency_key) > (_repair_parked.queue, false, _repair_parked.key)
            order by t.queue, t.holds_slot, t.concurrency_key
            limit 1
        )
        union all
        select next.queue, next.concurrency_key, keyed.number + 1
        from keyed
        cross join lateral (
            select t.queue, t.concurrency_key
            from underway.task t
            where not t.holds_slot
              and t.concurrency_key is not null
              and (t.queue, t.holds_slot, t.concurrency_key) > (keyed.queue, false, keyed.key)
            order by t.queue, t.holds_slot, t.concurrency_key
            limit 1
        ) next
        where keyed.number < _repair_parked.max_keys
    )
    select
        array_agg(p.queue) filter (where f.slots > 0),
        array_agg(p.key) filter (where f.slots > 0),
        array_agg(f.slots) filter (where f.slots > 0),
        count(*),
        max(p.queue),
        (array_agg(p.key order by p.number desc))[1]
    into v_queues, v_keys, v_slots, v_seen, _repair_parked.queue, _repair_parked.key
    from keyed p
    -- Left: the queue of a task may have been dropped while it was enqueued.
    left join lateral (
        select case when q.fair then least(1, c.tasks) else c.tasks end - (
            select count(*)
            from (
                select
                from underway.task t
                where t.queue = p.queue
                  and not t.holds_slot
                  and t.concurrency_key = p.key
                  and not t.parked
                  and t.state between 'pending' and 'pending' -- not "=", as in _release_slots
                  and t.ready_at <= v_now
                limit q.max_running_per_key
            ) ready
        )::integer as slots
        from underway.queue q
        cross join lateral underway._key_capacity(q, p.key, 0, v_now) c (tasks)
        where q.name = p.queue
          and (
              select true
              from underway.task t
              where t.queue = p.queue
                and not t.holds_slot
                and t.concurrency_key = p.key
                and t.parked
              limit 1
          )
    ) f on true;

    if v_queues is not null then
        perform underway._unpark(v_queues, v_keys, v_slots);
    end if;

    if v_seen < _repair_parked.max_keys then
        _repair_parked.queue := '';
        _repair_parked.key := '';
    end if;
end;
$$;

comment on function underway._repair_parked(text, text, integer) is
    'Make parked tasks ready whose key has free slots, key by key after the given one. Returns the last key that was checked,'
    ' or empty names after the last one of all.';
