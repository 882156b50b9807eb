-- _roll_up: add the attempts that have ended to the sums in task_stat.
--
-- Problem: settlements of one queue that updated a sum would wait for each other until their transactions end.
-- Idea: a settlement only inserts a row (_finish, _count_attempts). This function deletes such rows and adds them to the sums.
-- Invariant: the sums and the rows that are left are together what has happened, in every snapshot.
--
-- It begins at the position up to which all rows have been added up (_observe_positions), so it does not read the dead entries
-- of earlier rows.
--
-- Writes: uncounted.
-- Calls: _add_statistics.

create or replace function underway._bucket(seconds double precision)
returns smallint
language sql
immutable
begin atomic
    -- The bounds of histogram_bounds; a value on a bound belongs below it. No pinned search_path, which would prevent inlining.
    select (28 - width_bucket(-_bucket.seconds, array[
        -67108.864, -33554.432, -16777.216, -8388.608, -4194.304, -2097.152, -1048.576, -524.288,
        -262.144, -131.072, -65.536, -32.768, -16.384, -8.192, -4.096, -2.048, -1.024, -0.512, -0.256, -0.128, -0.064,
        -0.032, -0.016, -0.008, -0.004, -0.002, -0.001
    ]::double precision[]))::smallint;
end;

comment on function underway._bucket(double precision) is 'The bucket of a duration: from 1 to 28.';

create or replace function underway._roll_up(max_attempts integer default 25000, out complete boolean, out attempts bigint)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_from   bigint := (select p.counted_end from underway.stat_position p where p.only_row);
    v_rows   bigint[];
    v_seen   bigint;
    v_counts underway.stat_count[];
begin
    -- Rows up to max_attempts attempts, and at least one.
    select array_agg(r.id) filter (where r.attempts_before < _roll_up.max_attempts), count(*)
    into v_rows, v_seen
    from (
        select one.id, sum(one.tasks) over (order by one.id) - one.tasks as attempts_before
        from (
            select u.id, u.tasks
            from underway.uncounted u
            where u.id > v_from
            order by u.id
            limit 10000
            for update skip locked
        ) one
    ) r;

    with gone as (
        delete from underway.uncounted u where u.id = any (v_rows) returning u.*
    ),
    ended as (
        select
            date_bin('1 minute', g.at, 'epoch') as at, g.outcome, g.queue, g.job,
            date_bin('1 minute', case when g.started_at is not null then x.started_at end, 'epoch') as started_at,
            greatest(date_part('epoch', g.at) - date_part('epoch', x.started_at), 0) as run,
            greatest(date_part('epoch', x.started_at) - date_part('epoch', greatest(a.ready_at, '2000-01-01')), 0) as wait,
            g.started_at is not null as began
        from gone g
        cross join lateral unnest(g.ready_at) as a (ready_at)
        -- Times before 2000 and in the future can only come from a wrong clock.
        cross join lateral (select greatest(least(g.started_at, g.at), '2000-01-01') as started_at) x
    ),
    counted as (
        select
            e.at, e.outcome, e.queue, e.job, e.started_at, x.run_bucket, x.wait_bucket, count(*) as tasks,
            coalesce(sum(e.run) filter (where e.began), 0) as run_seconds,
            coalesce(sum(e.wait) filter (where e.began), 0) as wait_seconds
        from ended e
        cross join lateral (
            select
                case when e.began then underway._bucket(e.run) end as run_bucket,
                case when e.began then underway._bucket(e.wait) end as wait_bucket
            offset 0
        ) x
        group by 1, 2, 3, 4, 5, 6, 7
    )
    select
        array_agg(row(
            c.at, c.outcome, c.queue, c.job, c.started_at, c.tasks, c.run_seconds, c.wait_seconds, c.run_bucket,
            c.wait_bucket
        )::underway.stat_count),
        coalesce(sum(c.tasks), 0)
    into v_counts, _roll_up.attempts
    from counted c;

    perform underway._add_statistics(v_counts);

    _roll_up.complete := v_seen < 10000 and v_seen = coalesce(cardinality(v_rows), 0);
end;
$$;

comment on function underway._roll_up(integer) is
    'Add up about max_attempts attempts and tasks that have ended. Returns how many there were, and whether these were all'
    ' that are committed and not locked.';
