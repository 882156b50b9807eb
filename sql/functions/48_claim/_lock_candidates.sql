-- _lock_candidates: lock those of these tasks that are still as they were read, in their order; skip those that another
-- session has locked.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._lock_candidates(tasks underway.claim_candidate[])
returns underway.claim_candidate[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
begin
    -- The ctid may hold another row by now, or the row another key, so recheck it. CASE keeps the planner from using
    -- these as index conditions.
    return array(
        select row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.claim_candidate
        from unnest(_lock_candidates.tasks) with ordinality as c (ctid, key, ready_at, id, number)
        join underway.task t on t.ctid = c.ctid
        where case
            when t.state = 'pending' and t.id = c.id and t.ready_at <= c.ready_at
                then t.concurrency_key is not distinct from c.key
        end
        order by c.number
        for no key update of t skip locked
    );
end;
$$;

comment on function underway._lock_candidates(underway.claim_candidate[]) is
    'Lock those of these tasks that are still as they were read. Returns them in their order.';
