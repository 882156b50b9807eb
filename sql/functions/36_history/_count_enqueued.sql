-- _count_enqueued: count the tasks that were enqueued since the last call, so that an enqueue need not count.
--
-- New tasks have ascending ids and are in `task`, in the history when they have finished, or in moved_task. Each id is
-- counted once, when no transaction is left that could add a lower one. A task that is deleted before that is not
-- counted.
--
-- Writes: stat_position.
-- Calls: _add_statistics.

create or replace function underway._count_enqueued(settled_id bigint, max_tasks integer default 25000)
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
    v_counted bigint := (select p.counted_task from underway.stat_position p where p.only_row);
    v_counts  underway.stat_count[];
    v_last    bigint;
    v_count   integer;
begin
    if (_count_enqueued.settled_id > v_counted) is not true then
        return 0;
    end if;

    -- A session that truncates an expired day of the history locks it; then the next call counts.
    begin
        lock table underway.task_history in access share mode nowait;
    exception when lock_not_available then
        return 0;
    end;

    -- The last id of this call. The history comes first: it bounds how many dead index entries of finished tasks are read.
    v_last := _count_enqueued.settled_id;
    v_last := coalesce((
        select h.id
        from underway.task_history h
        where h.id > v_counted
          and h.id <= v_last
        order by h.id
        offset _count_enqueued.max_tasks - 1
        limit 1
    ), v_last);
    v_last := coalesce((
        select t.id
        from underway.task t
        where t.id > v_counted
          and t.id <= v_last
        order by t.id
        offset _count_enqueued.max_tasks - 1
        limit 1
    ), v_last);
    v_last := coalesce((
        select m.id
        from underway.moved_task m
        where m.id > v_counted
          and m.id <= v_last
        order by m.id
        offset _count_enqueued.max_tasks - 1
        limit 1
    ), v_last);

    with fresh as (
        select t.enqueued_at, t.queue, t.job
        from underway.task t
        where t.id > v_counted
          and t.id <= v_last
        union all
        select h.enqueued_at, h.queue, h.job
        from underway.task_history h
        where h.id > v_counted
          and h.id <= v_last
        union all
        select m.enqueued_at, m.queue, m.job
        from underway.moved_task m
        where m.id > v_counted
          and m.id <= v_last
    ),
    counted as (
        select date_bin('1 minute', f.enqueued_at, 'epoch') as at, f.queue, f.job, count(*) as tasks
        from fresh f
        group by 1, 2, 3
    )
    select
        array_agg(row(c.at, 'enqueued', c.queue, c.job, null, c.tasks, 0, 0, null, null)::underway.stat_count),
        coalesce(sum(c.tasks), 0)
    into v_counts, v_count
    from counted c;

    perform underway._add_statistics(v_counts);
    update underway.stat_position p
    set counted_task = v_last
    where p.only_row;

    return v_count;
end;
$$;

comment on function underway._count_enqueued(bigint, integer) is
    'Count as enqueued at most max_tasks tasks of each table up to an id, which no task can get any more. Returns how'
    ' many were counted.';
