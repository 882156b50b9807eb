-- queue_list: each queue with its settings.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace view underway.queue_list as
select
    q.name::text as queue,
    q.dead_letter_queue::text as dead_letter_queue,
    q.retry_policy,
    q.timeout,
    q.heartbeat,
    q.retention,
    q.keep_history,
    q.max_running,
    q.max_running_per_key,
    q.rate_limit,
    q.rate_period,
    q.max_length,
    q.rate_limit_per_key,
    q.fair
from underway.queue q;

comment on view underway.queue_list is
    'Each queue with its settings. Unlike queue_stats, it counts nothing.';
