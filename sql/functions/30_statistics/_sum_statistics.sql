-- _sum_statistics: what happened to tasks in a time, summed up by time, queue and job as the caller wants it.
--
-- Writes: nothing.
-- Calls: _percentile.

create or replace function underway._sum_statistics(
    since timestamptz,
    until timestamptz,
    source underway.stat_step,
    step interval,   -- null: all times together
    queue text,      -- null: all queues
    job text,        -- null: all jobs
    by_queue boolean,
    by_job boolean
)
returns setof underway.task_stats
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    -- The sums of everything have an empty queue and job.
    v_everything boolean := _sum_statistics.queue is null and _sum_statistics.job is null
        and not _sum_statistics.by_queue and not _sum_statistics.by_job;
begin
    return query
    select
        m.at, m.queue, m.job, m.enqueued, m.started, m.succeeded, m.failed, m.retried, m.cancelled, m.expired,
        underway._percentile(m.run, 0.5), underway._percentile(m.run, 0.95), underway._percentile(m.run, 0.99),
        underway._percentile(m.wait, 0.5), underway._percentile(m.wait, 0.95), underway._percentile(m.wait, 0.99)
    from (
        select
            date_bin(_sum_statistics.step, s.at, '2000-01-03 00:00:00+00') as at,
            case when _sum_statistics.by_queue then s.queue::text end as queue,
            case when _sum_statistics.by_job then s.job::text end as job,
            sum(s.enqueued)::bigint as enqueued, sum(s.started)::bigint as started, sum(s.succeeded)::bigint as succeeded,
            sum(s.failed)::bigint as failed, sum(s.retried)::bigint as retried, sum(s.cancelled)::bigint as cancelled, sum(s.expired)::bigint as expired,
            array[
                sum(s.run_histogram[1])::bigint, sum(s.run_histogram[2])::bigint, sum(s.run_histogram[3])::bigint, sum(s.run_histogram[4])::bigint,
                sum(s.run_histogram[5])::bigint, sum(s.run_histogram[6])::bigint, sum(s.run_histogram[7])::bigint, sum(s.run_histogram[8])::bigint,
                sum(s.run_histogram[9])::bigint, sum(s.run_histogram[10])::bigint, sum(s.run_histogram[11])::bigint, sum(s.run_histogram[12])::bigint,
                sum(s.run_histogram[13])::bigint, sum(s.run_histogram[14])::bigint, sum(s.run_histogram[15])::bigint, sum(s.run_histogram[16])::bigint,
                sum(s.run_histogram[17])::bigint, sum(s.run_histogram[18])::bigint, sum(s.run_histogram[19])::bigint, sum(s.run_histogram[20])::bigint,
                sum(s.run_histogram[21])::bigint, sum(s.run_histogram[22])::bigint, sum(s.run_histogram[23])::bigint, sum(s.run_histogram[24])::bigint,
                sum(s.run_histogram[25])::bigint, sum(s.run_histogram[26])::bigint, sum(s.run_histogram[27])::bigint, sum(s.run_histogram[28])::bigint
            ] as run,
            array[
                sum(s.wait_histogram[1])::bigint, sum(s.wait_histogram[2])::bigint, sum(s.wait_histogram[3])::bigint, sum(s.wait_histogram[4])::bigint,
                sum(s.wait_histogram[5])::bigint, sum(s.wait_histogram[6])::bigint, sum(s.wait_histogram[7])::bigint, sum(s.wait_histogram[8])::bigint,
                sum(s.wait_histogram[9])::bigint, sum(s.wait_histogram[10])::bigint, sum(s.wait_histogram[11])::bigint, sum(s.wait_histogram[12])::bigint,
                sum(s.wait_histogram[13])::bigint, sum(s.wait_histogram[14])::bigint, sum(s.wait_histogram[15])::bigint, sum(s.wait_histogram[16])::bigint,
                sum(s.wait_histogram[17])::bigint, sum(s.wait_histogram[18])::bigint, sum(s.wait_histogram[19])::bigint, sum(s.wait_histogram[20])::bigint,
                sum(s.wait_histogram[21])::bigint, sum(s.wait_histogram[22])::bigint, sum(s.wait_histogram[23])::bigint, sum(s.wait_histogram[24])::bigint,
                sum(s.wait_histogram[25])::bigint, sum(s.wait_histogram[26])::bigint, sum(s.wait_histogram[27])::bigint, sum(s.wait_histogram[28])::bigint
            ] as wait
        from underway.task_stat s
        where s.step = _sum_statistics.source
          and s.at >= _sum_statistics.since
          and s.at < _sum_statistics.until
          and case
              when v_everything then s.queue = '' and s.job = ''
              else s.queue <> '' and (_sum_statistics.queue is null or s.queue = _sum_statistics.queue)
                  and (_sum_statistics.job is null or s.job = _sum_statistics.job)
          end
        group by 1, 2, 3
    ) m
    order by m.at, m.queue, m.job;
end;
$$;

comment on function underway._sum_statistics(
    timestamptz, timestamptz, underway.stat_step, interval, text, text, boolean, boolean
) is
    'What happened to tasks in a time, for each step of it, queue and job as asked.';
