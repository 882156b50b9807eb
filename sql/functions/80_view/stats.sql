-- stats: totals over all queues, schedules and workers.
--
-- Writes: nothing.
-- Calls: _clock, queue_stats, schedule_stats, worker_stats.

create or replace function underway.stats()
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select jsonb_build_object(
            'queues', count(*),
            'queues_paused', count(s.paused_at),
            'ready', coalesce(sum(s.ready), 0),
            'parked', coalesce(sum(s.parked), 0),
            'scheduled', coalesce(sum(s.scheduled), 0),
            'in_progress', coalesce(sum(s.in_progress), 0),
            'waiting', coalesce(sum(s.waiting), 0),
            'expired', coalesce(sum(s.expired), 0),
            'dead_letters', coalesce(sum(s.dead_letters), 0),
            'capped', coalesce(bool_or(s.capped), false),
            'counted_seconds_ago', coalesce(extract(epoch from underway._clock() - min(s.counted_at)), 0),
            'oldest_ready_seconds', coalesce(extract(epoch from underway._clock() - min(s.oldest_ready_at)), 0),
            'schedules', (select count(*) from underway.schedule_stats c),
            'schedules_failing', (select count(c.last_error) from underway.schedule_stats c),
            'workers', (select count(*) from underway.worker_stats w where not w.lost)
        )
        from underway.queue_stats s
    );
end;
$$;

comment on function underway.stats() is
    'Totals over all queues, schedules and workers as a JSON object, for metrics.';
