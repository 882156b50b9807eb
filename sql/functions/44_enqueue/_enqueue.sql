-- _enqueue: insert tasks that have options or unique keys; return what each input has led to, in the order of the inputs.
--
--   -> pending
--
-- This is the general form of enqueue_many, which inserts plain tasks itself. Unique keys are taken one after the other
-- in the order of the keys, whatever order the inputs have: so calls with the same keys never deadlock.
--
-- Writes: task.
-- Calls: _add_dependencies, _check_inputs, _check_keys, _check_length, _check_options, _clock, _earliest_ready_at,
--   _ensure_priority, _insert_unique, _mark_queue_keyed, _raise_unique_conflict, _wake.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state,
--   UW007 input_too_large, UW010 unique_conflict, UW011 queue_full, UW016 job_not_found.

create or replace function underway._enqueue(
    queue text,
    inputs jsonb[],
    unique_keys text[],
    options underway.task_options,
    ids bigint[] default null
)
returns setof underway.enqueued_task
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now       timestamptz := underway._clock();
    v_wanted_at timestamptz;
    v_ids       bigint[] := coalesce(
        _enqueue.ids, array(select nextval('underway.task_id_seq') from unnest(_enqueue.inputs))
    );
    v_first_id  bigint := v_ids[1];
    v_created   boolean[] := array_fill(true, array[cardinality(v_ids)]);
    v_replaced  boolean[] := array_fill(false, array[cardinality(v_ids)]);
    v_new       bigint[];
    v_last_ready bigint;
    v_group     record;
    v_task      underway.enqueued_task;
begin
    -- What is not given is that of the job.
    if _enqueue.options.job is not null then
        select
            coalesce(_enqueue.queue, j.queue),
            coalesce(_enqueue.options.priority, j.priority, 0),
            coalesce(_enqueue.options.concurrency_key, j.concurrency_key),
            coalesce(_enqueue.options.expires, case when _enqueue.options.expires_at is null then j.expires end)
        into
            _enqueue.queue, _enqueue.options.priority, _enqueue.options.concurrency_key, _enqueue.options.expires
        from (values (_enqueue.options.job)) as given (name)
        left join underway.job j on j.name = given.name;
    else
        _enqueue.options.priority := coalesce(_enqueue.options.priority, 0);
    end if;

    v_wanted_at := underway._check_options(_enqueue.queue, _enqueue.options, v_now);
    -- A time in the past means now, and infinity never, also where the job has an expiry.
    _enqueue.options.expires_at := nullif(case
        when _enqueue.options.expires_at is not null then greatest(_enqueue.options.expires_at, v_now)
        else v_wanted_at + _enqueue.options.expires
    end, 'infinity');
    perform underway._check_inputs(_enqueue.inputs);
    perform underway._check_keys(_enqueue.inputs, _enqueue.unique_keys, _enqueue.options);
    perform underway._ensure_priority(_enqueue.queue, _enqueue.options.priority);
    if _enqueue.options.concurrency_key is not null then
        perform underway._mark_queue_keyed(_enqueue.queue);
    end if;

    if exists (select from unnest(_enqueue.unique_keys) as given (key) where given.key is not null) then
        v_created := v_replaced;
        -- Of inputs with the same key the first makes the task and the others conflict with it; with on_conflict =>
        -- 'replace' the last input counts.
        for v_group in
            select
                given.unique_key collate "C" as unique_key,
                array_agg(given.number order by given.number) as numbers,
                (array_agg(given.input order by case
                    when _enqueue.options.on_conflict = 'replace' then -given.number else given.number
                end))[1] as input
            from unnest(_enqueue.inputs, _enqueue.unique_keys) with ordinality as given (input, unique_key, number)
            group by given.unique_key collate "C", case when given.unique_key is null then given.number end
            order by 1, 2
        loop
            v_task := underway._insert_unique(
                v_ids[v_group.numbers[1]], _enqueue.queue, v_group.unique_key, v_group.input, v_wanted_at,
                _enqueue.options, v_now
            );
            if v_task.created and cardinality(v_group.numbers) > 1 and _enqueue.options.on_conflict = 'error' then
                perform underway._raise_unique_conflict(_enqueue.queue, v_group.unique_key, v_task.id);
            end if;

            for v_number in 1..cardinality(v_group.numbers) loop
                v_ids[v_group.numbers[v_number]] := v_task.id;
                v_created[v_group.numbers[v_number]] := v_task.created and v_number = 1;
                v_replaced[v_group.numbers[v_number]] := v_task.replaced
                    or (v_task.created and v_number > 1 and _enqueue.options.on_conflict = 'replace');
            end loop;
        end loop;

        v_new := array(select made.id from unnest(v_ids, v_created) as made (id, created) where made.created);
        perform underway._check_length(_enqueue.queue, v_first_id, cardinality(v_new), inserted => true);
    else
        perform underway._check_length(_enqueue.queue, v_first_id, cardinality(v_ids));
        -- Of one statement only as many tasks of a concurrency key are inserted ready as may run, in a fair queue one. The
        -- others are inserted parked, so that no claim has to read them first (32_limit/_release_slots.sql).
        if _enqueue.options.concurrency_key is not null and coalesce(_enqueue.options.after, '{}') = '{}' then
            v_last_ready := v_ids[(
                select case when q.fair then 1 else q.max_running_per_key end
                from underway.queue q
                where q.name = _enqueue.queue
            )];
        end if;

        insert into underway.task (
            id, queue, input, ready_at, enqueued_at, parked, job, priority, retry_policy, timeout, heartbeat, retention,
            headers, concurrency_key, expires_at
        )
        select
            given.id, _enqueue.queue, given.input,
            greatest(v_wanted_at, (
                select underway._earliest_ready_at(_enqueue.queue, _enqueue.options.priority)
            )),
            v_now, given.id > v_last_ready is true, _enqueue.options.job, _enqueue.options.priority,
            _enqueue.options.retry_policy,
            _enqueue.options.timeout, _enqueue.options.heartbeat, _enqueue.options.retention, _enqueue.options.headers,
            _enqueue.options.concurrency_key, _enqueue.options.expires_at
        from unnest(v_ids, _enqueue.inputs) as given (id, input);

        v_new := v_ids;
    end if;

    perform underway._add_dependencies(v_new, _enqueue.options.after, _enqueue.options.after_failure);
    if v_new <> '{}' or true = any (v_replaced) then
        perform underway._wake(_enqueue.queue, v_wanted_at - v_now);
    end if;

    return query select * from unnest(v_ids, v_created, v_replaced);
end;
$$;

comment on function underway._enqueue(text, jsonb[], text[], underway.task_options, bigint[]) is
    'Enqueue a task for each input whose unique key is free, all with the same options. Returns a row for each input, in'
    ' their order.';
