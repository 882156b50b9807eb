-- _search_tasks: read tasks, the newest first, and return those that match a filter.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._search_tasks(
    filter underway.task_filter,
    inout before bigint,
    max_tasks integer,
    max_read integer,
    out tasks bigint[]
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_live    boolean := filter.states is null or filter.states && '{pending,in_progress,waiting}';
    v_history boolean := filter.states is null or filter.states && '{succeeded,failed,cancelled}';
    v_all     boolean := filter.states is null or 'succeeded' = any (filter.states);
    v_before  bigint := coalesce(_search_tasks.before, 9223372036854775807);
    v_task    record;
    v_read    integer := 0;
begin
    _search_tasks.tasks := '{}';
    _search_tasks.before := null;

    for v_task in
        select
            c.id,
            (filter.states is null or c.state::text = any (filter.states))
            and (filter.queues is null or c.queue = any (filter.queues))
            and (filter.jobs is null or c.job = any (filter.jobs))
            and (filter.key is null or c.unique_key = filter.key or c.concurrency_key = filter.key)
            and (filter.worker is null or c.worker = filter.worker)
            and (filter.enqueued_after is null or c.enqueued_at >= filter.enqueued_after)
            and (filter.enqueued_before is null or c.enqueued_at < filter.enqueued_before)
            and (filter.finished_after is null or c.finished_at >= filter.finished_after)
            and (filter.finished_before is null or c.finished_at < filter.finished_before)
            and (filter.dead_letter is null or (c.dead_letter is not null) = filter.dead_letter)
            and (filter.ids is null or c.id = any (filter.ids))
            and (filter.error is null or exists (
                select
                from jsonb_array_elements(c.errors) as one (error)
                where strpos(
                    lower(concat(one.error ->> 'type', ': ', one.error ->> 'message')), lower(filter.error)
                ) > 0
            ))
            and (filter.input is null or (
                jsonb_path_exists(c.input, filter.input, silent => true)
                and jsonb_path_query_first(c.input, filter.input, silent => true) is distinct from 'false'
            )) as matches
        from (
            select
                t.id, t.state, t.queue, t.job, t.unique_key, t.concurrency_key, t.worker, t.enqueued_at,
                null::timestamptz as finished_at, t.dead_letter, t.errors, t.input
            from underway.task t
            where v_live
              and t.id < v_before
            union all
            select
                h.id, h.state, h.queue, h.job, h.unique_key, h.concurrency_key, h.worker, h.enqueued_at,
                h.finished_at, h.dead_letter, h.errors, h.input
            from underway.task_history h
            where v_history
              and v_all
              and h.id < v_before
            union all
            select
                h.id, h.state, h.queue, h.job, h.unique_key, h.concurrency_key, h.worker, h.enqueued_at,
                h.finished_at, h.dead_letter, h.errors, h.input
            from underway.task_history h
            where v_history
              and not v_all
              and h.id < v_before
              and h.state <> 'succeeded'
        ) c
        order by c.id desc
        limit _search_tasks.max_read
    loop
        v_read := v_read + 1;
        if v_task.matches then
            _search_tasks.tasks := _search_tasks.tasks || v_task.id;
            if cardinality(_search_tasks.tasks) = _search_tasks.max_tasks then
                _search_tasks.before := v_task.id;
                return;
            end if;
        end if;
        if v_read = _search_tasks.max_read then
            _search_tasks.before := v_task.id;
        end if;
    end loop;
end;
$$;

comment on function underway._search_tasks(underway.task_filter, bigint, integer, integer) is
    'The newest tasks before an id that match, at most max_tasks, from at most max_read tasks; and where the next search begins,'
    ' or null where no tasks are left.';
