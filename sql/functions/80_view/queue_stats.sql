-- queue_stats: each queue with its settings and the number of its live tasks by state.
--
-- Writes: nothing.
-- Calls: _clock, queue_counts.

create or replace view underway.queue_stats as
select
    q.name::text as queue,
    q.paused_at,
    q.dead_letter_queue::text as dead_letter_queue,
    q.retry_policy,
    q.timeout,
    q.heartbeat,
    q.retention,
    q.keep_history,
    coalesce(live.ready + case when q.fair then live.parked else 0 end, 0) as ready,
    coalesce(live.scheduled, 0) as scheduled,
    coalesce(live.in_progress, 0) as in_progress,
    coalesce(live.waiting, 0) as waiting,
    coalesce(live.dead_letters, 0) as dead_letters,
    least(live.oldest_ready_at, case when q.fair then live.oldest_parked_at end) as oldest_ready_at,
    (
        select count(*)
        from underway.worker w
        where q.name = any (w.queues)
          and w.seen_at >= underway._clock() - interval '1 minute'
    ) as workers,
    q.max_running,
    q.max_running_per_key,
    q.rate_limit,
    q.rate_period,
    q.max_length,
    coalesce(case when q.fair then 0 else live.parked end, 0) as parked,
    array(
        select p.concurrency_key::text
        from underway.paused_key p
        where p.queue = q.name
        order by p.concurrency_key
    ) as paused_keys,
    q.rate_limit_per_key,
    q.fair,
    coalesce(live.expired, 0) as expired,
    coalesce(live.capped, false) as capped,
    coalesce(live.counted_at, underway._clock()) as counted_at
from underway.queue q
left join underway.queue_counts() live on live.queue = q.name;

comment on view underway.queue_stats is
    'Each queue with its settings and the number of its live tasks by state. Parked tasks are due, but their'
    ' concurrency key was full at the last claim; they are not counted as ready. In a fair queue, where each task'
    ' waits for the turn of its key, parked is 0 and these tasks are ready. Tasks that have expired, and that maintain'
    ' has not cancelled yet, are counted as expired only. At most 10,000 tasks of a state are counted; capped says'
    ' that there may be more. counted_at says when they were counted: now, or a second or more ago if the table of'
    ' live tasks is large (queue_counts).';
