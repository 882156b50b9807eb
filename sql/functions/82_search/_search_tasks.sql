-- _search_tasks: read tasks, the newest first, and return those that match a filter.
--
-- Problem: the history may have millions of tasks, and no index serves most filters. A search must end soon all the same.
-- Idea: read tasks by descending id, in growing portions, until enough match or max_read were read; the caller goes on from
-- there. Some filters allow for less: unsuccessful tasks have an index of their own; running, waiting and dead-lettered
-- tasks are few and are looked up first; and a time of enqueueing is a range of ids, for both ascend together.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._id_at(at timestamptz)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_low  numeric := 0; -- enqueued before the time, as far as is known
    v_high numeric;      -- and after it
    v_mid  bigint;
    v_id   bigint;
    v_at   timestamptz;
begin
    v_high := 1::numeric + greatest(
        (select max(t.id) from underway.task t),
        (select h.id from underway.task_history h order by h.id desc limit 1), 0
    );

    while v_high - v_low > 1000 loop
        v_mid := trunc((v_low + v_high) / 2);
        -- The first task from the middle on.
        select one.id, one.enqueued_at
        into v_id, v_at
        from (
            (select t.id, t.enqueued_at from underway.task t where t.id >= v_mid order by t.id limit 1)
            union all
            (select h.id, h.enqueued_at from underway.task_history h where h.id >= v_mid order by h.id limit 1)
        ) one
        order by one.id
        limit 1;
        if not found or v_id >= v_high or v_at > _id_at.at then
            v_high := v_mid;
        else
            v_low := v_id;
        end if;
    end loop;

    return least(v_high, 9223372036854775807);
end;
$$;

comment on function underway._id_at(timestamptz) is
    'An id that tasks have which were enqueued about this time: above those of earlier tasks by at most a thousand.';

create or replace function underway._candidates(filter underway.task_filter, max_read integer)
returns bigint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_tasks bigint[];
begin
    if filter.ids is not null then
        return filter.ids;
    end if;

    if filter.states = '{in_progress}' then
        v_tasks := array(
            select t.id from underway.task t where t.lease_expires_at is not null limit _candidates.max_read
        );
    elsif filter.states = '{waiting}' then
        v_tasks := array(
            select d.task
            from underway.dependent d
            cross join lateral (select w.state from underway.task w where w.id = d.task limit 1) t
            where t.state = 'waiting'
            limit _candidates.max_read
        );
    elsif filter.dead_letter and not filter.states && '{succeeded,failed,cancelled}' then
        v_tasks := array(
            select t.id
            from underway.task t
            where (t.dead_letter ->> 'task')::bigint is not null
              and t.dead_letter is not null
            limit _candidates.max_read
        );
    end if;

    return case when cardinality(v_tasks) < _candidates.max_read then v_tasks end;
end;
$$;

comment on function underway._candidates(underway.task_filter, integer) is
    'The ids of all tasks that may match a filter, if an index finds them and there are fewer than max_read; otherwise null.';

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
set jit = off
as $$
declare
    v_live       boolean := filter.states is null or filter.states && '{pending,in_progress,waiting}';
    v_history    boolean := filter.states is null or filter.states && '{succeeded,failed,cancelled}';
    v_successful boolean := filter.states is null or 'succeeded' = any (filter.states);
    v_candidates bigint[] := underway._candidates(_search_tasks.filter, _search_tasks.max_read);
    v_before     bigint := coalesce(_search_tasks.before, 9223372036854775807);
    v_from       bigint := -9223372036854775808;
    v_portion    integer := least(greatest(2 * _search_tasks.max_tasks, 100), _search_tasks.max_read);
    v_read       integer := 0;
    v_got        integer;
    v_last       bigint;
    v_found      bigint[];
    v_until      timestamptz := least(filter.enqueued_before, filter.finished_before);
    -- Ids ascend with time, except those of tasks that another shard has moved here.
    v_ascending  boolean := (select true from underway.incoming_move limit 1) is null;
begin
    _search_tasks.tasks := '{}';
    _search_tasks.before := null;

    -- Ten minutes are for statements that enqueue for that long, and for clocks that were corrected.
    if v_candidates is null and v_ascending and isfinite(v_until) then
        v_before := least(v_before, underway._id_at(
            least(greatest(v_until, '0001-01-01'), '9999-12-31') + interval '10 minutes'
        ));
    end if;
    if v_candidates is null and v_ascending and isfinite(filter.enqueued_after) then
        v_from := underway._id_at(
            least(greatest(filter.enqueued_after, '0001-01-02'), '9999-12-31') - interval '10 minutes'
        ) - 1000;
    end if;

    loop
        select count(*), min(c.id), array_agg(c.id order by c.id desc) filter (where c.matches)
        into v_got, v_last, v_found
        from (
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
                and (filter.error is null or exists (
                    select
                    from jsonb_array_elements(case when jsonb_typeof(c.errors) = 'array' then c.errors end) as one (error)
                    where strpos(
                        lower(concat(one.error ->> 'type', ': ', one.error ->> 'message')), lower(filter.error)
                    ) > 0
                ))
                and (filter.input is null or (
                    jsonb_path_exists(c.input, filter.input, silent => true)
                    and jsonb_path_query_first(c.input, filter.input, silent => true) is distinct from 'false'
                )) as matches
            from (
                select *
                from (
                    (
                        select
                            t.id, t.state, t.queue, t.job, t.unique_key, t.concurrency_key, t.worker, t.enqueued_at,
                            null::timestamptz as finished_at, t.dead_letter, t.errors, t.input
                        from underway.task t
                        where v_live
                          and v_candidates is null
                          and t.id < v_before
                          and t.id >= v_from
                        order by t.id desc
                        limit v_portion
                    )
                    union all
                    (
                        select
                            h.id, h.state, h.queue, h.job, h.unique_key, h.concurrency_key, h.worker, h.enqueued_at,
                            h.finished_at, h.dead_letter, h.errors, h.input
                        from underway.task_history h
                        where v_history
                          and v_successful
                          and v_candidates is null
                          and h.id < v_before
                          and h.id >= v_from
                        order by h.id desc
                        limit v_portion
                    )
                    union all
                    (
                        select
                            h.id, h.state, h.queue, h.job, h.unique_key, h.concurrency_key, h.worker, h.enqueued_at,
                            h.finished_at, h.dead_letter, h.errors, h.input
                        from underway.task_history h
                        where v_history
                          and not v_successful
                          and v_candidates is null
                          and h.state <> 'succeeded'
                          and h.id < v_before
                          and h.id >= v_from
                          and filter.queues is null
                        order by h.id desc
                        limit v_portion
                    )
                    union all
                    (
                        select
                            h.id, h.state, h.queue, h.job, h.unique_key, h.concurrency_key, h.worker, h.enqueued_at,
                            h.finished_at, h.dead_letter, h.errors, h.input
                        from underway.task_history h
                        where v_history
                          and not v_successful
                          and v_candidates is null
                          and h.state <> 'succeeded'
                          and h.id < v_before
                          and h.id >= v_from
                          and h.queue = any (filter.queues)
                        order by h.id desc
                        limit v_portion
                    )
                    union all
                    (
                        select one.*
                        from (
                            select distinct given.id
                            from unnest(v_candidates) as given (id)
                            where given.id < v_before
                            order by given.id desc
                            limit v_portion
                        ) chosen
                        cross join lateral (
                            (
                                select
                                    t.id, t.state, t.queue, t.job, t.unique_key, t.concurrency_key, t.worker, t.enqueued_at,
                                    null::timestamptz as finished_at, t.dead_letter, t.errors, t.input
                                from underway.task t
                                where t.id = chosen.id
                                limit 1
                            )
                            union all
                            (
                                select
                                    h.id, h.state, h.queue, h.job, h.unique_key, h.concurrency_key, h.worker, h.enqueued_at,
                                    h.finished_at, h.dead_letter, h.errors, h.input
                                from underway.task_history h
                                where h.id = chosen.id
                                  and v_history
                                limit 1
                            )
                        ) one
                    )
                ) merged
                order by merged.id desc
                limit v_portion
            ) c
        ) c;

        v_read := v_read + v_got;
        _search_tasks.tasks := _search_tasks.tasks || v_found;
        if cardinality(_search_tasks.tasks) >= _search_tasks.max_tasks then
            _search_tasks.tasks := _search_tasks.tasks[:_search_tasks.max_tasks];
            _search_tasks.before := _search_tasks.tasks[_search_tasks.max_tasks];
            return;
        end if;

        if v_candidates is not null then
            -- Ids without a task give no row.
            v_last := (
                select min(chosen.id)
                from (
                    select distinct given.id from unnest(v_candidates) as given (id)
                    where given.id < v_before order by given.id desc limit v_portion
                ) chosen
            );
            exit when v_last is null;
        else
            exit when v_got < v_portion;
        end if;
        v_before := v_last;
        if v_read >= _search_tasks.max_read then
            _search_tasks.before := v_last;
            return;
        end if;
        v_portion := least(v_portion * 4, _search_tasks.max_read - v_read);
    end loop;
end;
$$;

comment on function underway._search_tasks(underway.task_filter, bigint, integer, integer) is
    'The newest tasks before an id that match, at most max_tasks, from at most max_read tasks; and where the next'
    ' search begins, or null where no tasks are left.';
