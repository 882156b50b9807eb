-- _lanes_to_claim: the priorities of these queues that have a task to claim, the highest first.
--
-- Queues of one priority come in random order, so that none starves. A claim from a single queue includes priority 0
-- without a test for a ready task, which would read the same rows twice.
--
-- Writes: nothing.
-- Calls: _check_claim, _has_ready_key, _queues_with_tasks, _starts_of_lanes.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway._lanes_to_claim(queues text[], max_tasks integer, now timestamptz)
returns underway.lane[]
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
    v_queues text[] := case
        when cardinality(_lanes_to_claim.queues) > 50
            then underway._queues_with_tasks(_lanes_to_claim.queues, _lanes_to_claim.now)
        else _lanes_to_claim.queues
    end;
    v_lanes  underway.lane[] := array(
        select row(q.name, lane.priority)::underway.lane
        from unnest(v_queues) as served (name)
        -- The limit keeps this order of look-ups under a generic plan.
        cross join lateral (select * from underway.queue one where one.name = served.name limit 1) q
        cross join lateral underway._starts_of_lanes(q.name, _lanes_to_claim.now) lane
        where q.paused_at is null
          -- Scalar subqueries, not EXISTS: the planner may hash an EXISTS and read the whole table.
          and ((cardinality(_lanes_to_claim.queues) = 1 and lane.priority = 0) or (
              select true
              from underway.task t
              where t.queue = q.name
                and t.priority = lane.priority
                and t.ready_at between lane.starts_at and _lanes_to_claim.now
                and t.state = 'pending'
                and not t.parked
              limit 1
          ) or (q.rate_limit_per_key is not null and underway._has_ready_key(q.name, _lanes_to_claim.now)))
        order by lane.priority desc, random()
    );
begin
    -- Of many queues those that do not exist are looked for only when nothing was found.
    if v_lanes = '{}' or cardinality(_lanes_to_claim.queues) between 2 and 10
       or (_lanes_to_claim.max_tasks between 0 and 10000) is not true then
        perform underway._check_claim(_lanes_to_claim.queues, _lanes_to_claim.max_tasks);
    end if;

    return v_lanes;
end;
$$;

comment on function underway._lanes_to_claim(text[], integer, timestamptz) is
    'The priorities of these queues that have a task to claim, the highest first. Refuses a claim with invalid arguments.';
