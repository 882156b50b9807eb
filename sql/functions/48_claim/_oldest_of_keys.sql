-- _oldest_of_keys: in a fair queue, the tasks that the turns of these tasks go to: the oldest ones of the same keys.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._oldest_of_keys(
    queue text,
    priority integer,
    turns underway.claim_candidate[],
    now timestamptz
)
returns underway.claim_candidate[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    return array(
        select row(oldest.ctid, turn.key, turn.ready_at, oldest.id)::underway.claim_candidate
        from (
            select t.key, t.ready_at, t.id, row_number() over (
                partition by t.key, case when t.key is null then t.id end order by t.ready_at, t.id
            ) as nth
            from unnest(_oldest_of_keys.turns) t
        ) turn
        join lateral (
            select candidate.ctid, candidate.id
            from (
                select mine.ctid, mine.id
                from unnest(_oldest_of_keys.turns) mine
                where mine.key = turn.key or mine.id = turn.id
                union all
                (
                    select t.ctid, t.id
                    from underway.task t
                    where t.queue = _oldest_of_keys.queue
                      and t.concurrency_key = turn.key
                      and t.priority = _oldest_of_keys.priority
                      and t.ready_at <= _oldest_of_keys.now
                      and t.parked
                    order by t.ready_at, t.id
                    limit turn.nth
                )
            ) candidate
            order by candidate.id
            offset turn.nth - 1
            limit 1
        ) oldest on true
        order by turn.ready_at, turn.id
    );
end;
$$;

comment on function underway._oldest_of_keys(text, integer, underway.claim_candidate[], timestamptz) is
    'The tasks that the turns of these tasks go to in a fair queue, in the order of the turns.';
