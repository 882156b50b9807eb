-- job_list: each registered job with its settings; null is the setting of the queue.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace view underway.job_list as
select
    j.name::text as job,
    j.queue::text as queue,
    j.retry_policy,
    j.timeout,
    j.heartbeat,
    j.retention,
    j.priority,
    j.dead_letter_queue::text as dead_letter_queue,
    j.concurrency_key::text as concurrency_key,
    j.expires,
    j.owner,
    j.registered_at,
    j.updated_at
from underway.job j;

comment on view underway.job_list is
    'Each registered job with its settings. Where one is null, the setting of the queue applies.';
