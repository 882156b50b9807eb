-- task_dependencies: the tasks that a task waits for or that wait for it, the callbacks of its batches, and its dead letter.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway.task_dependencies(task bigint)
returns setof underway.related_task
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    return query
    select r.task, r.relation, r.batch, coalesce(t.state, h.state), coalesce(t.job, h.job)
    from (
        -- What it comes after: the live and the unsuccessful tasks of its implicit batch.
        select m.task, 'after' as relation, b.id as batch
        from underway.dependent d
        join underway.batch b on b.id = d.batch
        join underway.batch_task m on m.batch = b.id
        where d.task = task_dependencies.task
        union all
        -- What comes after it.
        select d.task, case when b.implicit then 'before' else 'callback' end, b.id
        from underway.batch_task m
        join underway.batch b on b.id = m.batch
        join underway.dependent d on d.batch = b.id
        where m.task = task_dependencies.task
        union all
        select t.id, 'dead letter', null
        from underway.task t
        where (t.dead_letter ->> 'task')::bigint = task_dependencies.task
          and t.dead_letter is not null
        union all
        select (found_task.dead_letter ->> 'task')::bigint, 'dead letter of', null
        from (
            select t.dead_letter from underway.task t where t.id = task_dependencies.task
            union all
            select h.dead_letter from underway.task_history h where h.id = task_dependencies.task
        ) found_task
        where found_task.dead_letter is not null
        limit 1000
    ) r
    left join lateral (select one.state, one.job from underway.task one where one.id = r.task limit 1) t on true
    left join lateral (
        select one.state, one.job from underway.task_history one where one.id = r.task limit 1
    ) h on t.state is null
    order by r.relation, r.task;
end;
$$;

comment on function underway.task_dependencies(bigint) is
    'At most 1000 tasks that are related to a task: those that it comes after and that have not succeeded (after),'
    ' those that come after it (before), the callbacks of its batches, its dead letter, and the task whose dead letter'
    ' it is. The state is null when the history does not have the task any more.';
