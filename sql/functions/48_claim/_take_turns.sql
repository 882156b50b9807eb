-- _take_turns: in a fair queue, lock the tasks whose turn it is. Concurrency keys are served round-robin.
--
-- Each key has one task in the ready index at a time, whose ready_at is the key's next turn; others are parked here. The
-- claim takes the oldest task of the key, ready or parked. Then the next task of the key is made ready with a ready_at
-- after those of all other keys, unless the key is full: that is decided under the lock of the key, so that a transaction
-- which frees a slot at this moment makes it ready (32_limit/_release_slots.sql).
--
-- A claim of many tasks gives each key in the page more than one turn at once.
--
-- Writes: task.
-- Calls: _key_capacity, _key_lock, _lock_candidates, _unpark.

create or replace function underway._take_turns(
    queue underway.queue,
    priority integer,
    page underway.claim_candidate[],
    capacity integer[], -- of the keys of these tasks, one by one
    taken underway.claim_candidate[],
    max_tasks integer,
    now timestamptz
)
returns underway.claim_candidate[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_chosen underway.claim_candidate[];
    v_locked underway.claim_candidate[];
    v_served text[];
    v_alone  text[]; -- keys whose lock this claim holds
    v_next   text[];
begin
    -- Tasks without a key are not part of the turns: each stands for itself.
    with line as (
        select t.key, min(t.ready_at) as ready_at, min(t.id) as id, min(t.capacity) as capacity
        from unnest(_take_turns.page, _take_turns.capacity) as t (ctid, key, ready_at, id, capacity)
        group by t.key, case when t.key is null then t.id end
    ),
    share as (
        select 1 + ceil(2.0 * greatest(0, _take_turns.max_tasks - count(*)) / greatest(1, count(l.key)))::integer as turns
        from line l
    )
    select array_agg(
        row(turn.ctid, turn.key, turn.ready_at, turn.id)::underway.claim_candidate order by turn.nth, turn.line_at, turn.id
    )
    into v_chosen
    from (
        select l.key, l.ready_at as line_at, oldest.*
        from line l
        cross join share s
        cross join lateral (
            select c.ctid, c.ready_at, c.id, row_number() over (order by c.id) as nth
            from (
                select mine.ctid, mine.ready_at, mine.id
                from unnest(_take_turns.page) mine
                where mine.key = l.key
                   or mine.id = l.id
                union all
                (
                    select t.ctid, t.ready_at, t.id
                    from underway.task t
                    where t.queue = (_take_turns.queue).name
                      and not t.holds_slot
                      and t.concurrency_key = l.key
                      and t.parked
                      and t.state = 'pending'
                      and t.priority = _take_turns.priority
                      and t.ready_at <= _take_turns.now
                      and t.id <> all (array(select earlier.id from unnest(_take_turns.taken) earlier))
                    order by t.ready_at, t.id
                    limit s.turns
                )
            ) c
            order by c.id
            limit case when l.key is null then 1 else greatest(0, least(s.turns, l.capacity)) end
        ) oldest
    ) turn;

    v_locked := underway._lock_candidates(v_chosen, _take_turns.max_tasks, _take_turns.now);
    -- Keys in the order in which they were served: their next turns come in the same order.
    v_served := array(
        select l.key
        from unnest(v_locked) with ordinality as l (ctid, key, ready_at, id, number)
        where l.key is not null
        group by l.key
        order by max(l.number)
    );

    -- Each key keeps at most one ready task; a key that was served keeps none, and gets its next turn below.
    v_alone := array(
        select k.key
        from (
            select t.key
            from unnest(_take_turns.page) t
            where t.key is not null
            group by t.key
            having count(*) > 1 or t.key = any (v_served)
        ) k
        where pg_try_advisory_xact_lock(underway._key_lock((_take_turns.queue).name, k.key))
    );
    update underway.task t
    set
        parked = true,
        ready_at = least(t.ready_at, t.enqueued_at) -- not the time of a turn, but the order of the key
    where t.ctid = any (array(
        select extra.ctid
        from (
            select c.ctid, c.key, c.id, row_number() over (partition by c.key order by c.ready_at, c.id) as nth
            from unnest(_take_turns.page) c
            where c.key is not null
        ) c
        join underway.task extra on extra.ctid = c.ctid
        where (c.key = any (v_served) or (c.nth > 1 and c.key = any (v_alone)))
          and c.id <> all (array(select l.id from unnest(v_locked) l))
          and case when extra.state = 'pending' and extra.id = c.id then extra.concurrency_key = c.key end
        for no key update of extra skip locked
    ));

    -- The next task of each key that was served gets a turn after those of all other keys, unless the key is full now.
    v_next := array(
        select served.key
        from (
            select
                one.key,
                one.number,
                (
                    select count(*) from unnest(_take_turns.taken || v_locked) taken where taken.key = one.key
                ) as taken
            from unnest(v_served) with ordinality as one (key, number)
        ) served
        cross join lateral underway._key_capacity(_take_turns.queue, served.key, served.taken, _take_turns.now) capacity (tasks)
        where capacity.tasks > 0
           or served.key <> all (v_alone)
        order by served.number
    );
    if v_next <> '{}' then
        perform underway._unpark(
            array_fill((_take_turns.queue).name, array[cardinality(v_next)]),
            v_next,
            array_fill(1, array[cardinality(v_next)]),
            array(select l.id from unnest(_take_turns.taken || v_locked) l)
        );
    end if;

    return v_locked;
end;
$$;

comment on function underway._take_turns(
    underway.queue, integer, underway.claim_candidate[], integer[], underway.claim_candidate[], integer, timestamptz
) is 'Lock at most so many tasks of a page of a fair queue, in the turn of their keys, and line up the next task of each key.';
