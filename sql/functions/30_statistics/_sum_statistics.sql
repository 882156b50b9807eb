-- _sum_statistics: what happened to tasks in a time, summed up by time, queue and job as the caller wants it.
--
-- Writes: nothing.
-- Calls: _percentile.

create or replace function underway._sum_statistics(
    since timestamptz,
    until timestamptz,
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
    v_everything boolean := _sum_statistics.queue is null and _sum_statistics.job is null
        and not _sum_statistics.by_queue and not _sum_statistics.by_job;
    v_first_hour timestamptz := _sum_statistics.until;
    v_last_hour  timestamptz := _sum_statistics.until;
    v_first_day  timestamptz;
    v_last_day   timestamptz;
begin
    -- Whole hours are read as hours, if the steps consist of them, and what is before and after them as minutes.
    if _sum_statistics.step is null or mod(extract(epoch from _sum_statistics.step)::bigint, 3600) = 0 then
        v_last_hour := date_bin('1 hour', _sum_statistics.until, 'epoch');
        v_first_hour := least(date_bin('1 hour', _sum_statistics.since + interval '3599.999999 seconds', 'epoch'), v_last_hour);
        v_first_hour := greatest(v_first_hour, _sum_statistics.since);
        v_last_hour := greatest(v_last_hour, v_first_hour);
    end if;

    -- Likewise whole days among these hours.
    v_first_day := v_last_hour;
    v_last_day := v_last_hour;
    if _sum_statistics.step is null or mod(extract(epoch from _sum_statistics.step)::bigint, 86400) = 0 then
        v_last_day := date_bin('1 day', v_last_hour, 'epoch');
        v_first_day := least(date_bin('1 day', v_first_hour + interval '86399.999999 seconds', 'epoch'), v_last_day);
        v_first_day := greatest(v_first_day, v_first_hour);
        v_last_day := greatest(v_last_day, v_first_day);
    end if;

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
            sum(s.enqueued)::bigint as enqueued, sum(s.started)::bigint as started,
            sum(s.succeeded)::bigint as succeeded, sum(s.failed)::bigint as failed, sum(s.retried)::bigint as retried,
            sum(s.cancelled)::bigint as cancelled, sum(s.expired)::bigint as expired,
            array[
                sum(s.run_histogram[1])::bigint, sum(s.run_histogram[2])::bigint, sum(s.run_histogram[3])::bigint,
                sum(s.run_histogram[4])::bigint, sum(s.run_histogram[5])::bigint, sum(s.run_histogram[6])::bigint,
                sum(s.run_histogram[7])::bigint, sum(s.run_histogram[8])::bigint, sum(s.run_histogram[9])::bigint,
                sum(s.run_histogram[10])::bigint, sum(s.run_histogram[11])::bigint, sum(s.run_histogram[12])::bigint,
                sum(s.run_histogram[13])::bigint, sum(s.run_histogram[14])::bigint, sum(s.run_histogram[15])::bigint,
                sum(s.run_histogram[16])::bigint, sum(s.run_histogram[17])::bigint, sum(s.run_histogram[18])::bigint,
                sum(s.run_histogram[19])::bigint, sum(s.run_histogram[20])::bigint, sum(s.run_histogram[21])::bigint,
                sum(s.run_histogram[22])::bigint, sum(s.run_histogram[23])::bigint, sum(s.run_histogram[24])::bigint,
                sum(s.run_histogram[25])::bigint, sum(s.run_histogram[26])::bigint, sum(s.run_histogram[27])::bigint,
                sum(s.run_histogram[28])::bigint
            ] as run,
            array[
                sum(s.wait_histogram[1])::bigint, sum(s.wait_histogram[2])::bigint, sum(s.wait_histogram[3])::bigint,
                sum(s.wait_histogram[4])::bigint, sum(s.wait_histogram[5])::bigint, sum(s.wait_histogram[6])::bigint,
                sum(s.wait_histogram[7])::bigint, sum(s.wait_histogram[8])::bigint, sum(s.wait_histogram[9])::bigint,
                sum(s.wait_histogram[10])::bigint, sum(s.wait_histogram[11])::bigint, sum(s.wait_histogram[12])::bigint,
                sum(s.wait_histogram[13])::bigint, sum(s.wait_histogram[14])::bigint, sum(s.wait_histogram[15])::bigint,
                sum(s.wait_histogram[16])::bigint, sum(s.wait_histogram[17])::bigint, sum(s.wait_histogram[18])::bigint,
                sum(s.wait_histogram[19])::bigint, sum(s.wait_histogram[20])::bigint, sum(s.wait_histogram[21])::bigint,
                sum(s.wait_histogram[22])::bigint, sum(s.wait_histogram[23])::bigint, sum(s.wait_histogram[24])::bigint,
                sum(s.wait_histogram[25])::bigint, sum(s.wait_histogram[26])::bigint, sum(s.wait_histogram[27])::bigint,
                sum(s.wait_histogram[28])::bigint
            ] as wait
        from (
            -- The sums of everything have an empty queue and job.
            select '' collate "C" as queue, '' collate "C" as job
            where v_everything
            union all
            select t.queue, t.job
            from underway.task_stat t
            where not v_everything
              and t.step = 'total'
              and t.queue <> ''
              and (_sum_statistics.queue is null or t.queue = _sum_statistics.queue)
              and (_sum_statistics.job is null or t.job = _sum_statistics.job)
        ) line
        cross join (
            values
                ('minute'::underway.stat_step, _sum_statistics.since, v_first_hour),
                ('hour', v_first_hour, v_first_day),
                ('day', v_first_day, v_last_day),
                ('hour', v_last_day, v_last_hour),
                ('minute', v_last_hour, _sum_statistics.until)
        ) as part (step, since, until)
        cross join lateral (
            select *
            from underway.task_stat one
            where one.queue = line.queue
              and one.job = line.job
              and one.step = part.step
              and one.at >= part.since
              and one.at < part.until
            offset 0
        ) s
        group by 1, 2, 3
    ) m
    order by m.at, m.queue, m.job;
end;
$$;

comment on function underway._sum_statistics(
    timestamptz, timestamptz, interval, text, text, boolean, boolean
) is
    'What happened to tasks in a time, for each step of it, queue and job as asked.';
