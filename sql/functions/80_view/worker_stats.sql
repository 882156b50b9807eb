-- worker_stats: each registered worker with the number of its running tasks.
--
-- Writes: nothing.
-- Calls: _clock.

create or replace view underway.worker_stats as
select
    w.id,
    w.name,
    w.queues,
    w.concurrency,
    w.idle,
    w.started_at,
    w.seen_at,
    w.seen_at < underway._clock() - interval '1 minute' as lost,
    coalesce(held.tasks, 0) as in_progress,
    held.oldest_started_at,
    w.stop_asked_at,
    w.skipped_jobs,
    w.version
from underway.worker w
left join (
    select t.worker, count(*) as tasks, min(t.started_at) as oldest_started_at
    from underway.task t
    where t.state = 'in_progress'
    group by t.worker
) held on held.worker = w.id;

comment on view underway.worker_stats is
    'Each registered worker with the number of its running tasks. A worker is lost when it was not seen for a minute;'
    ' stop_asked_at is the time of a call of stop_workers.';
