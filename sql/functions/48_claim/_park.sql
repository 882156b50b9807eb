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
    taken underway.claim_candidate[],
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
    v_parked text[];
begin
    -- A statement after the locks: it sees the slots that were freed before.
    with parked as (
        update underway.task t
        set
            parked = true,
            -- In a fair queue ready_at was the time of the turn; parked tasks of a key are in their own order again.
            ready_at = case when (_park.queue).fair then least(t.ready_at, t.enqueued_at) else t.ready_at end
        where t.ctid = any (array(
            select seen.ctid
            from (
                select k.key
                from (
                    select one.key, (select count(*) from unnest(_park.taken) taken where taken.key = one.key) as taken
                    from unnest(v_locked) as one (key)
                ) k
                cross join lateral underway._key_capacity(_park.queue, k.key, k.taken, _park.now) capacity (tasks)
                where capacity.tasks <= 0
            ) full_key
            join unnest(_park.tasks) c on c.key = full_key.key
            join underway.task seen on seen.ctid = c.ctid
            -- The ctid may hold another row by now. CASE keeps the planner from using these as index conditions.
            where case
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

comment on function underway._park(underway.queue, underway.claim_candidate[], underway.claim_candidate[], timestamptz) is
    'Park those of these tasks whose key is full, paused or out of tokens. Returns the keys of the tasks that were parked.';
