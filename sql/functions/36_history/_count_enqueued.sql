-- _count_enqueued: count the tasks that were enqueued since the last call, so that an enqueue need not count.
--
-- New tasks have ascending ids and are in `task` or, when they have finished, in the history. Each id is counted once. A task
-- that is deleted within a second or two of its enqueue may be missed.
--
-- Writes: task_stat_delta, stat_position.
-- Calls: _observe_positions, _roll_up.

create or replace function underway._count_enqueued(max_tasks integer default 50000)
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
    v_settled bigint;
    v_delta   bigint;
    v_last    bigint;
    v_count   integer := 0;
begin
    select o.settled_task, o.settled_delta into v_settled, v_delta from underway._observe_positions() o;

    if v_settled > v_counted then
        with fresh as materialized (
            select one.*
            from (
                select t.id, t.enqueued_at, t.queue, t.job
                from underway.task t
                where t.id > v_counted
                  and t.id <= v_settled
                union all
                select h.id, h.enqueued_at, h.queue, h.job
                from underway.task_history h
                where h.id > v_counted
                  and h.id <= v_settled
            ) one
            order by one.id
            limit _count_enqueued.max_tasks
        ),
        added as (
            insert into underway.task_stat_delta (at, outcome, queue, job, tasks)
            select f.at, 'enqueued', f.queue, f.job, count(*)
            from (
                select date_bin('1 minute', n.enqueued_at, 'epoch') as at, n.queue, coalesce(n.job, '') as job from fresh n
            ) f
            group by f.at, f.queue, f.job
        )
        select count(*), max(f.id) into v_count, v_last from fresh f;

        update underway.stat_position p
        set counted_task = case when v_count < _count_enqueued.max_tasks then v_settled else v_last end
        where p.only_row;
    end if;

    -- All rows up to v_delta are visible now. What is left of them is added up by the next statement.
    if underway._roll_up() < 10000 and v_delta is not null then
        update underway.stat_position p
        set counted_delta = v_delta
        where p.only_row
          and p.counted_delta <> v_delta;
    end if;

    return v_count;
end;
$$;

comment on function underway._count_enqueued(integer) is
    'Count at most max_tasks tasks that were enqueued, and add up what other transactions have counted. Returns how many'
    ' enqueued tasks were counted.';
