-- _prune_statistics: remove the statistics of minutes, hours and days that are older than thirty days.
--
-- Writes: task_stat, queue_depth.
-- Calls: _clock.

create or replace function underway._prune_statistics(max_rows integer default 5000)
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
    v_now    timestamptz := underway._clock();
    v_stats  integer;
    v_depths integer;
begin
    delete from underway.task_stat s
    where s.ctid = any (array(
        select old.ctid
        from underway.task_stat line
        cross join unnest('{minute,hour,day}'::underway.stat_step[]) as kept (step)
        cross join lateral (
            select one.ctid
            from underway.task_stat one
            where one.queue = line.queue
              and one.job = line.job
              and one.step = kept.step
              and one.at < v_now - interval '30 days'
            order by one.at
            limit _prune_statistics.max_rows
            for update skip locked
        ) old
        where line.step = 'total'
        limit _prune_statistics.max_rows
    ));
    get diagnostics v_stats = row_count;

    delete from underway.queue_depth d
    where d.ctid = any (array(
        select one.ctid
        from underway.queue_depth one
        where one.at < v_now - interval '30 days'
        order by one.at, one.queue
        limit _prune_statistics.max_rows
        for update skip locked
    ));
    get diagnostics v_depths = row_count;

    return v_stats + v_depths;
end;
$$;

comment on function underway._prune_statistics(integer) is
    'Remove statistics whose time is over: at most max_rows of minutes, hours and days, and as many of depths. Returns'
    ' how many rows there were.';
