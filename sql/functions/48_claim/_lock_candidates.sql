-- _lock_candidates: lock at most max_tasks of these tasks, in their order. Tasks that have changed since they were read, or
-- that another session has locked, or that have expired, are skipped: the tasks after them take their place.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._lock_candidates(tasks underway.claim_candidate[], max_tasks integer, now timestamptz)
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
declare
    v_locked underway.claim_candidate[] := '{}';
    v_first  integer := 1; -- of the candidates that have not been tried
    v_next   integer;
begin
    while v_first <= cardinality(_lock_candidates.tasks) and cardinality(v_locked) < _lock_candidates.max_tasks loop
        v_next := v_first + _lock_candidates.max_tasks - cardinality(v_locked);
        -- The ctid may hold another row by now, or the row another key, so recheck it. CASE keeps the planner from using
        -- these as index conditions.
        v_locked := v_locked || array(
            select row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.claim_candidate
            from unnest(_lock_candidates.tasks[v_first:v_next - 1]) with ordinality as c (ctid, key, ready_at, id, number)
            join underway.task t on t.ctid = c.ctid
            where case
                when t.state = 'pending' and t.id = c.id and t.ready_at <= c.ready_at
                     and (t.expires_at <= _lock_candidates.now) is not true
                    then t.concurrency_key is not distinct from c.key
            end
            order by c.number
            for no key update of t skip locked
        );
        v_first := v_next;
    end loop;

    return v_locked;
end;
$$;

comment on function underway._lock_candidates(underway.claim_candidate[], integer, timestamptz) is
    'Lock at most so many of these tasks that are still as they were read. Returns them in their order.';
