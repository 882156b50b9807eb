-- _park: take ready tasks whose key is full out of the ready index, until _release_slots or _unpark brings them back.
--
-- A task is parked only while this holds the lock of its key, and after the key has been counted again. The lock is only
-- tried: if a transaction that frees a slot of the key holds it, the task stays ready for the next claim.
--
-- Writes: task.
-- Calls: _key_capacity, _key_lock.

create or replace function underway._park(
    queue underway.queue,
    tasks underway.claim_candidate[],
    taken text[], -- the keys of the tasks that the claim has taken
    now timestamptz
)
returns text[]
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
    v_locked text[] := array(
        select k.key
        from (select distinct t.key from unnest(_park.tasks) t) k
        where pg_try_advisory_xact_lock(underway._key_lock((_park.queue).name, k.key))
    );
    v_full   jsonb;
    v_parked text[];
begin
    -- A statement after the locks: it sees the slots that were freed before.
    select jsonb_object_agg(k.key, null)
    into v_full
    from (
        select given.key, count(*) filter (where not given.locked) as taken
        from (
            select unnest(v_locked) as key, true as locked
            union all
            select unnest(_park.taken), false
        ) given
        group by given.key
        having bool_or(given.locked)
    ) k
    cross join lateral underway._key_capacity(_park.queue, k.key, k.taken, _park.now) capacity (tasks)
    where capacity.tasks <= 0;

    with parked as (
        update underway.task t
        set
            parked = true,
            -- In a fair queue ready_at was the time of the turn; parked tasks of a key are in their own order again.
            ready_at = case when (_park.queue).fair then least(t.ready_at, t.enqueued_at) else t.ready_at end
        where t.ctid = any (array(
            select seen.ctid
            from unnest(_park.tasks) c
            join underway.task seen on seen.ctid = c.ctid
            where v_full ? c.key
              -- The ctid may hold another row by now. CASE keeps the planner from using these as index conditions.
              and case
                  when seen.state = 'pending' and not seen.parked and seen.id = c.id
                      then seen.concurrency_key = c.key
              end
            for no key update of seen skip locked
        ))
        returning t.concurrency_key
    )
    select array_agg(distinct p.concurrency_key) into v_parked from parked p;

    return coalesce(v_parked, '{}');
end;
$$;

comment on function underway._park(underway.queue, underway.claim_candidate[], text[], timestamptz) is
    'Park those of these tasks whose key is full, paused or out of tokens. Returns the keys of the tasks that were parked.';
