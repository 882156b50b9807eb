-- schedule_stats: each schedule with its last and its next time.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace view underway.schedule_stats as
select
    s.name as schedule,
    coalesce(s.queue, j.queue) as queue,
    s.job,
    s.cron,
    s.time_zone,
    s.next_at,
    s.last_at,
    s.last_task,
    s.last_error,
    s.last_error_at,
    s.paused_at,
    -- A bound outside the years that clients can represent, such as infinity, is no bound in practice.
    case when s.starts_at between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00' then s.starts_at end as starts_at,
    case when s.ends_at between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00' then s.ends_at end as ends_at,
    s.catch_up,
    s.catch_up_limit,
    s.overlap,
    s.jitter,
    s.owner,
    s.created_at,
    s.updated_at
from underway.schedule s
left join underway.job j on j.name = s.job;

comment on view underway.schedule_stats is
    'Each schedule with its settings, its last and next times, its last task, and its last error until a time succeeds.';
