-- _add_statistics: add counts to the sums of their minutes, hours and days, and to those since the installation.
--
-- Writes: task_stat.
-- Calls: nothing.

create or replace function underway._add_histograms(a bigint[], b bigint[])
returns bigint[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The shorter one is filled up with nulls.
    return case
        when _add_histograms.a = '{}' then _add_histograms.b
        when _add_histograms.b = '{}' then _add_histograms.a
        else array(
            select coalesce(both_sides.x, 0) + coalesce(both_sides.y, 0)
            from unnest(_add_histograms.a, _add_histograms.b) with ordinality as both_sides (x, y, bucket)
            order by both_sides.bucket
        )
    end;
end;
$$;

comment on function underway._add_histograms(bigint[], bigint[]) is 'The sum of two histograms, bucket by bucket.';

create or replace function underway._to_histogram(buckets smallint[], tasks bigint[])
returns bigint[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_histogram bigint[] := '{}';
    v_bucket    smallint;
begin
    for v_number in 1..cardinality(_to_histogram.buckets) loop
        v_bucket := _to_histogram.buckets[v_number];
        if v_bucket is not null then
            if v_bucket > cardinality(v_histogram) then
                v_histogram := v_histogram || array_fill(0::bigint, array[v_bucket - cardinality(v_histogram)]);
            end if;
            v_histogram[v_bucket] := v_histogram[v_bucket] + _to_histogram.tasks[v_number];
        end if;
    end loop;

    return v_histogram;
end;
$$;

comment on function underway._to_histogram(smallint[], bigint[]) is
    'A histogram from counts of tasks, each with its bucket; a count without a bucket is left out.';

create or replace function underway._add_statistics(counts underway.stat_count[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    -- In the order of the key, so that two sessions never deadlock.
    insert into underway.task_stat as s (
        step, at, queue, job, enqueued, started, succeeded, failed, retried, cancelled, expired, run_seconds, wait_seconds,
        run_histogram, wait_histogram
    )
    select
        slot.step, slot.at, slot.queue, slot.job,
        coalesce(sum(slot.tasks) filter (where slot.outcome = 'enqueued'), 0),
        coalesce(sum(slot.tasks) filter (where slot.outcome = 'started'), 0),
        coalesce(sum(slot.tasks) filter (where slot.outcome = 'succeeded'), 0),
        coalesce(sum(slot.tasks) filter (where slot.outcome = 'failed'), 0),
        coalesce(sum(slot.tasks) filter (where slot.outcome = 'retried'), 0),
        coalesce(sum(slot.tasks) filter (where slot.outcome = 'cancelled'), 0),
        coalesce(sum(slot.tasks) filter (where slot.outcome = 'expired'), 0),
        sum(slot.run_seconds), sum(slot.wait_seconds),
        underway._to_histogram(array_agg(slot.run_bucket), array_agg(slot.tasks)),
        underway._to_histogram(array_agg(slot.wait_bucket), array_agg(slot.tasks))
    from (
        -- Each count enters four steps, and in each of them the sums of its queue and job and those of everything.
        select
            step.name as step, step.at, line.queue collate "C" as queue, line.job collate "C" as job, c.outcome, c.tasks,
            c.run_seconds, c.wait_seconds,
            c.run_bucket, c.wait_bucket
        from (
            select n.at, n.outcome, n.queue, n.job, n.tasks, n.run_seconds, n.wait_seconds, n.run_bucket, n.wait_bucket
            from unnest(_add_statistics.counts) n
            union all
            select n.started_at, 'started', n.queue, n.job, n.tasks, 0, 0, null, null
            from unnest(_add_statistics.counts) n
            where n.started_at is not null
        ) c
        cross join lateral (
            values
                ('minute'::underway.stat_step, date_bin('1 minute', c.at, 'epoch')),
                ('hour', date_bin('1 hour', c.at, 'epoch')),
                ('day', date_bin('1 day', c.at, 'epoch')),
                ('total', '-infinity'::timestamptz)
        ) as step (name, at)
        cross join lateral (values (c.queue, coalesce(c.job, '')), ('', '')) as line (queue, job)
    ) slot
    group by slot.queue, slot.job, slot.step, slot.at
    order by slot.queue, slot.job, slot.step, slot.at
    on conflict (queue, job, step, at) do update
    set
        enqueued = s.enqueued + excluded.enqueued,
        started = s.started + excluded.started,
        succeeded = s.succeeded + excluded.succeeded,
        failed = s.failed + excluded.failed,
        retried = s.retried + excluded.retried,
        cancelled = s.cancelled + excluded.cancelled,
        expired = s.expired + excluded.expired,
        run_seconds = s.run_seconds + excluded.run_seconds,
        wait_seconds = s.wait_seconds + excluded.wait_seconds,
        run_histogram = underway._add_histograms(s.run_histogram, excluded.run_histogram),
        wait_histogram = underway._add_histograms(s.wait_histogram, excluded.wait_histogram);
end;
$$;

comment on function underway._add_statistics(underway.stat_count[]) is
    'Add counts to the sums of their minutes, hours and days, and to those since the installation.';
