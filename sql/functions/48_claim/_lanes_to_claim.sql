-- _lanes_to_claim: the priorities of these queues that may have a task to claim, each with the settings of its queue.
--
-- A claim from one queue that uses one priority looks there without a check: it would find the same rows twice.
-- A plain SQL function without settings of its own, so that the planner puts it into the calling statement.
--
-- Writes: nothing.
-- Calls: _has_ready_key, _start_of_line.

create or replace function underway._lanes_to_claim(queues text[], now timestamptz)
returns table (
    queue text,
    priority integer,
    timeout interval,
    heartbeat interval,
    max_attempts integer,
    starts_at timestamptz,
    has_limits boolean,
    jobs_have_attempts boolean
)
language sql
stable
as $$
    select
        q.name, p.priority, q.timeout, q.heartbeat, (q.retry_policy).max_attempts, start.at,
        q.max_running is not null or q.rate_limit is not null or q.fair or q.has_keys, q.jobs_have_attempts
    from unnest(_lanes_to_claim.queues) as served (name)
    -- The limit and the offset keep this order of look-ups under a generic plan.
    cross join lateral (select * from underway.queue one where one.name = served.name limit 1) q
    cross join lateral (select one.priority from underway.queue_priority one where one.queue = served.name offset 0) p
    cross join lateral underway._start_of_line(served.name, p.priority, _lanes_to_claim.now) start (at)
    where q.paused_at is null
      -- Scalar subqueries, not EXISTS: the planner may hash an EXISTS and read the whole table.
      and ((cardinality(_lanes_to_claim.queues) = 1 and p.priority = 0) or (
          select true
          from underway.task t
          where t.queue = served.name
            and t.priority = p.priority
            and t.ready_at between start.at and _lanes_to_claim.now
            and t.state = 'pending'
            and not t.parked
          limit 1
      ) or (q.rate_limit_per_key is not null and underway._has_ready_key(served.name, _lanes_to_claim.now)));
$$;

comment on function underway._lanes_to_claim(text[], timestamptz) is
    'The priorities of these queues that may have a task to claim, with the settings of their queues.';
