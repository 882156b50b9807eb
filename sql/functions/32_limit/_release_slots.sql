-- _release_slots: make parked tasks ready in place of tasks that are no longer running or ready, and wake workers for them
-- or for the slots of max_running.
--
-- Invariant: a concurrency key with parked tasks that are due has no unused slot. Each slot is taken by a running task, or
-- by a ready task in front of the parked ones, or an open transaction will make a task ready for it. Each way in which a
-- running or a ready task of a key ends, leaves or is placed behind others calls this function, and the order matters: (1) the
-- caller's UPDATE or DELETE frees the slot, (2) this function takes the lock of the key shared, (3) it looks for parked
-- tasks in a new statement. A claim parks a task only while it holds the same lock exclusively, and after it has counted
-- the key again in a new statement. So either the claim sees the free slot, or this function sees the parked task.
--
-- It may wait for a claim of the queue that has not committed: one that holds the lock of the key (64 locks for the keys of
-- a queue), or one that has advanced the watermark. maintain() repairs what a locked row or an old snapshot has hidden.
--
-- Writes: nothing.
-- Calls: _clock, _key_lock, _unpark, _wake.

create or replace function underway._release_slots(queues text[], keys text[], slots integer default 1)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set enable_nestloop = on
as $$
declare
    v_queues text[];
    v_keys   text[];
    v_slots  integer[];
begin
    if array_remove(_release_slots.keys, null) <> '{}' then
        perform pg_advisory_xact_lock_shared(held.lock)
        from (
            select distinct underway._key_lock(freed.queue, freed.key) as lock
            from unnest(_release_slots.queues, _release_slots.keys) as freed (queue, key)
            where freed.key is not null
            order by 1
        ) held;

        select array_agg(freed.queue), array_agg(freed.key), array_agg(case when q.fair then 1 else freed.slots end)
        into v_queues, v_keys, v_slots
        from (
            select given.queue, given.key, count(*)::integer * _release_slots.slots as slots
            from unnest(_release_slots.queues, _release_slots.keys) as given (queue, key)
            where given.key is not null
            group by given.queue, given.key
        ) freed
        -- Few keys have parked tasks: the rest is read for these alone.
        cross join lateral (
            select
            from underway.task t
            where t.queue = freed.queue
              and not t.holds_slot
              and t.concurrency_key = freed.key
              and t.parked
            limit 1
        ) parked
        cross join lateral (select one.fair from underway.queue one where one.name = freed.queue limit 1) q
        -- In a fair queue a key has one ready task at a time, which stands for its next turn; but not for a parked task with a
        -- higher priority, which would otherwise be claimed after it.
        where not q.fair
           or (
              select true
              from underway.task t
              where t.queue = freed.queue
                and not t.holds_slot
                and t.concurrency_key = freed.key
                and not t.parked
                -- Not "=": with the statistics of an empty table the planner would read all ready tasks of the queue.
                and t.state between 'pending' and 'pending'
                and t.ready_at <= underway._clock()
                and t.priority >= (
                    select p.priority
                    from underway.task p
                    where p.queue = freed.queue
                      and not p.holds_slot
                      and p.concurrency_key = freed.key
                      and p.parked
                      and p.state = 'pending'
                    order by p.priority desc
                    limit 1
                )
              limit 1
          ) is null;
        if v_queues is not null then
            perform underway._unpark(v_queues, v_keys, v_slots);
        end if;
    end if;

    -- Where nothing can start that could not before, the worker that has freed the slots claims the next tasks.
    perform underway._wake(freed.queue)
    from (select distinct unnest(_release_slots.queues)) as freed (queue)
    where freed.queue = any (v_queues)
       or (select q.max_running is not null from underway.queue q where q.name = freed.queue);
end;
$$;

comment on function underway._release_slots(text[], text[], integer) is
    'Tasks of these queues, each with its key or null, have freed their slots: make parked tasks ready and wake idle workers.';
