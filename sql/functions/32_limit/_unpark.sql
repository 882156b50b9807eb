-- _unpark: make parked tasks of some keys ready for the next claim, of each key at most as many as it has free slots.
--
-- Of a key the tasks that are due come first, by priority and then in their order. A task keeps its place in the line of
-- its queue; in a fair queue it goes to the back, behind the next tasks of all other keys, in the order of the given keys.
--
-- It is always safe to unpark one task too many: a claim parks it again.
--
-- Writes: task.
-- Calls: _clock, _front_at, _lock_front.

create or replace function underway._unpark(
    queues text[],
    keys text[],
    slots integer[],
    excluded bigint[] default '{}' -- tasks that the caller has locked to claim them
)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set enable_nestloop = on
as $$
declare
    v_now  timestamptz;
    v_rows tid[];
begin
    perform underway._lock_front(_unpark.queues);
    v_now := underway._clock();

    -- A statement after the lock. Rows that another session has locked are skipped; maintain checks their keys.
    v_rows := array(
        select next.ctid
        from unnest(_unpark.queues, _unpark.keys, _unpark.slots) with ordinality as freed (queue, key, slots, number)
        cross join lateral (
            select head.ctid
            from (select distinct p.priority from underway.queue_priority p where p.queue = freed.queue) lane
            cross join lateral (
                select t.ctid, t.ready_at, t.id
                from underway.task t
                where t.queue = freed.queue
                  and not t.holds_slot
                  and t.concurrency_key = freed.key
                  and t.parked
                  and t.state = 'pending'
                  and t.priority = lane.priority
                  and t.id <> all (_unpark.excluded)
                order by t.ready_at, t.id
                limit freed.slots
                for no key update skip locked
            ) head
            order by greatest(head.ready_at, v_now), lane.priority desc, head.ready_at, head.id
            limit freed.slots
        ) next
        order by freed.number
    );

    update underway.task t
    set
        parked = false,
        -- A task that is not due stays delayed, also where _front_at does not keep its place.
        ready_at = greatest(t.ready_at, underway._front_at(t.queue, t.priority, case
            when (select q.fair from underway.queue q where q.name = t.queue)
                then greatest(t.ready_at, v_now + interval '1 microsecond' * chosen.number)
            else t.ready_at
        end))
    from unnest(v_rows) with ordinality as chosen (ctid, number)
    where t.ctid = chosen.ctid;

    return cardinality(v_rows);
end;
$$;

comment on function underway._unpark(text[], text[], integer[], bigint[]) is
    'Make at most so many parked tasks of each of these keys ready. Returns how many there were.';
