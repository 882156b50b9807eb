-- _roll_up: add the counts that transactions have left in task_stat_delta to the sums in task_stat.
--
-- Problem: settlements of one queue that updated a sum would wait for each other until their transactions end.
-- Idea: a settlement only inserts a row. This function deletes such rows and adds them to the sums, one session at a time.
-- Invariant: the sums and the rows that are left are together what has happened, in every snapshot.
--
-- It begins at the last position up to which all rows have been added up (_observe_positions), so it does not read the dead
-- entries of rows that were added up before.
--
-- Writes: task_stat_delta, task_stat.
-- Calls: nothing.

create or replace function underway._add_histograms(a bigint[], b bigint[])
returns bigint[]
language sql
immutable
begin atomic
    -- The shorter one is filled up with nulls.
    select coalesce(array_agg(coalesce(both_sides.x, 0) + coalesce(both_sides.y, 0) order by both_sides.bucket), '{}')
    from unnest(_add_histograms.a, _add_histograms.b) with ordinality as both_sides (x, y, bucket);
end;

comment on function underway._add_histograms(bigint[], bigint[]) is 'The sum of two histograms, bucket by bucket.';

create or replace function underway._to_histogram(buckets smallint[], tasks bigint[])
returns bigint[]
language sql
immutable
begin atomic
    select coalesce(array_agg(coalesce(counted.tasks, 0) order by bucket.number), '{}')
    from generate_series(1, (select max(given.bucket) from unnest(_to_histogram.buckets) as given (bucket))) as bucket (number)
    left join (
        select given.bucket, sum(given.tasks)::bigint as tasks
        from unnest(_to_histogram.buckets, _to_histogram.tasks) as given (bucket, tasks)
        group by given.bucket
    ) counted on counted.bucket = bucket.number;
end;

comment on function underway._to_histogram(smallint[], bigint[]) is
    'A histogram from counts of tasks, each with its bucket; a count without a bucket is left out.';

create or replace function underway._roll_up(max_rows integer default 10000)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_from  bigint := (select p.counted_delta from underway.stat_position p where p.only_row);
    v_count integer;
begin
    with gone as (
        delete from underway.task_stat_delta d
        where d.id = any (array(
            select one.id
            from underway.task_stat_delta one
            where one.id > v_from
            order by one.id
            limit _roll_up.max_rows
            for update skip locked
        ))
        returning d.*
    ),
    counted as (
        select
            g.at, g.queue, g.job, g.outcome, g.tasks, 0 as started, g.run_seconds, g.wait_seconds, g.run_bucket, g.wait_bucket
        from gone g
        union all
        select g.started_at, g.queue, g.job, 'started', 0, g.tasks, 0, 0, null, null
        from gone g
        where g.started_at is not null
    ),
    added as (
        insert into underway.task_stat as s (
            step, at, queue, job, enqueued, started, succeeded, failed, retried, cancelled, expired, run_seconds,
            wait_seconds, run_histogram, wait_histogram
        )
        select
            slot.step, slot.at, slot.queue, slot.job,
            coalesce(sum(c.tasks) filter (where c.outcome = 'enqueued'), 0),
            sum(c.started),
            coalesce(sum(c.tasks) filter (where c.outcome = 'succeeded'), 0),
            coalesce(sum(c.tasks) filter (where c.outcome = 'failed'), 0),
            coalesce(sum(c.tasks) filter (where c.outcome = 'retried'), 0),
            coalesce(sum(c.tasks) filter (where c.outcome = 'cancelled'), 0),
            coalesce(sum(c.tasks) filter (where c.outcome = 'expired'), 0),
            sum(c.run_seconds), sum(c.wait_seconds),
            underway._to_histogram(array_agg(c.run_bucket), array_agg(c.tasks)),
            underway._to_histogram(array_agg(c.wait_bucket), array_agg(c.tasks))
        from counted c
        -- Each count enters three steps, and in each of them the sums of its queue and job and those of everything.
        cross join lateral (
            select step.name as step, step.at, line.queue, line.job
            from (
                values
                    ('minute'::underway.stat_step, date_bin('1 minute', c.at, 'epoch')),
                    ('hour', date_bin('1 hour', c.at, 'epoch')),
                    ('total', '-infinity'::timestamptz)
            ) as step (name, at)
            cross join (values (c.queue, c.job), ('', '')) as line (queue, job)
        ) slot
        group by slot.step, slot.at, slot.queue, slot.job
        order by slot.step, slot.at, slot.queue, slot.job
        on conflict (step, at, queue, job) do update
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
            wait_histogram = underway._add_histograms(s.wait_histogram, excluded.wait_histogram)
        returning 1
    )
    select count(*) into v_count from gone;

    return v_count;
end;
$$;

comment on function underway._roll_up(integer) is
    'Add up at most max_rows counts of what has happened to tasks. Returns how many rows were added up.';
