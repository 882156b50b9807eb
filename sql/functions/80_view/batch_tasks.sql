-- batch_tasks: the tasks of a batch that are live, or have failed or were cancelled. The database does not remember which
-- tasks have succeeded, only how many.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway.batch_tasks(
    batch bigint,
    before bigint default null,
    max_tasks integer default 50
)
returns setof bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
    return query
    select found_task.task
    from (
        (
            select m.task
            from underway.batch_task m
            where m.batch = batch_tasks.batch
              and m.outcome is null
              and m.task < coalesce(batch_tasks.before, 9223372036854775807)
            order by m.task desc
            limit batch_tasks.max_tasks
        )
        union all
        (
            select m.task
            from underway.batch_task m
            where m.batch = batch_tasks.batch
              and m.outcome is not null
              and m.task < coalesce(batch_tasks.before, 9223372036854775807)
            order by m.task desc
            limit batch_tasks.max_tasks
        )
    ) found_task
    order by found_task.task desc
    limit batch_tasks.max_tasks;
end;
$$;

comment on function underway.batch_tasks(bigint, bigint, integer) is
    'The ids of at most max_tasks tasks of a batch that are live, have failed or were cancelled, the newest first. To go on,'
    ' pass the last of them as before.';
