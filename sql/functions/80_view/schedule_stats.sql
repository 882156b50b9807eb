-- schedule_stats: each schedule with its last and its next time.
--
-- Writes: nothing.

create or replace view underway.schedule_stats as
select
    s.name as schedule,
    s.queue,
    s.job,
    s.cron,
    s.time_zone,
    s.next_at,
    s.last_at,
    s.last_task,
    s.last_error,
    s.last_error_at,
    s.paused_at,
    s.starts_at,
    s.ends_at,
    s.catch_up,
    s.catch_up_limit,
    s.overlap,
    s.jitter,
    s.owner,
    s.created_at,
    s.updated_at
from underway.schedule s;

comment on view underway.schedule_stats is
    'Each schedule: its times, its last task, and its last error until a time succeeds.';
