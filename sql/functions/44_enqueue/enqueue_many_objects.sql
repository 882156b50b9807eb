-- enqueue_many: insert a task for each object of an array, each with its own options, named as those of enqueue.
--
-- A run is a number of neighbours that differ in nothing but their inputs and unique keys, all with a key or all
-- without; it is enqueued in one call. Across runs unique keys are taken in the order of the objects: sessions that take
-- the same keys in opposite orders may deadlock, which PostgreSQL ends with an error. enqueue_unique takes all keys in
-- one order.
--
--   -> pending
--
-- Writes: nothing.
-- Calls: _check_inputs, _check_keys, _enqueue, retry_policy.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state,
--   UW007 input_too_large, UW010 unique_conflict, UW011 queue_full, UW016 job_not_found.

create or replace function underway._check_objects(tasks jsonb)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_problem text;
begin
    if jsonb_typeof(_check_objects.tasks) is distinct from 'array' then
        raise exception using
            errcode = 'UW001',
            message = format('tasks are a JSON %s', coalesce(jsonb_typeof(_check_objects.tasks), 'nothing')),
            hint = 'Give an array of objects, such as [{"queue": "email", "input": {"to": "a@example.com"}}].';
    end if;

    select format('task %s %s', checked.number, checked.problem)
    into v_problem
    from (
        select given.number, case
            when jsonb_typeof(given.task) <> 'object' then format('is a JSON %s', jsonb_typeof(given.task))
            when jsonb_typeof(given.task -> 'retry_policy') not in ('object', 'null') then
                format('has a retry_policy that is a JSON %s', jsonb_typeof(given.task -> 'retry_policy'))
            when jsonb_typeof(given.task -> 'after') not in ('array', 'null') then
                format('has an after that is a JSON %s', jsonb_typeof(given.task -> 'after'))
            else (
                select format('has the unknown option %L', option.name)
                from (
                    select jsonb_object_keys(given.task)
                    union all
                    select 'retry_policy.' || jsonb_object_keys(nullif(given.task -> 'retry_policy', 'null'))
                ) as option (name)
                where option.name <> all (array[
                    'queue', 'input', 'job', 'delay', 'run_at', 'expires', 'expires_at', 'priority', 'retry_policy',
                    'timeout', 'heartbeat', 'retention', 'headers', 'unique_key', 'on_conflict', 'unique_for',
                    'unique_until', 'concurrency_key', 'after', 'after_failure',
                    'retry_policy.max_attempts', 'retry_policy.initial_interval', 'retry_policy.max_interval',
                    'retry_policy.factor', 'retry_policy.jitter'
                ])
                limit 1
            )
        end as problem
        from jsonb_array_elements(_check_objects.tasks) with ordinality as given (task, number)
    ) checked
    where checked.problem is not null
    order by checked.number
    limit 1;

    if found then
        raise exception using
            errcode = 'UW001',
            message = v_problem,
            hint = 'Each task is an object with a queue or a job, an input and the options of underway.enqueue.';
    end if;
end;
$$;

comment on function underway._check_objects(jsonb) is 'Refuse anything but an array of objects, each with options of enqueue.';

create or replace function underway._read_options(task jsonb)
returns underway.task_options
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A null means the same as no option: the default of enqueue.
    return jsonb_populate_record(
        null::underway.task_options,
        '{"on_conflict": "return", "unique_until": "finish", "after_failure": "wait"}'
        || coalesce((
            select jsonb_object_agg(given.name, given.value)
            from jsonb_each(_read_options.task) as given (name, value)
            where given.value <> 'null'
        ), '{}')
        || case when jsonb_typeof(_read_options.task -> 'retry_policy') = 'object' then jsonb_build_object(
            'retry_policy', to_jsonb(underway.retry_policy()) || jsonb_strip_nulls(_read_options.task -> 'retry_policy')
        ) else '{}' end
    );
exception when data_exception then
    raise exception using
        errcode = 'UW001',
        message = format('an option in %s: %s', left(_read_options.task::text, 200), sqlerrm),
        hint = 'Each option is text or a number that underway.enqueue takes for it.';
end;
$$;

comment on function underway._read_options(jsonb) is 'The options of a task that is given as an object.';

create or replace function underway.enqueue_many(tasks jsonb)
returns bigint[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids bigint[] := '{}';
    v_run record;
begin
    perform underway._check_objects(enqueue_many.tasks);

    -- Here the numbers in the messages are those of the objects; the calls below count within their run.
    perform
        underway._check_inputs(given.inputs),
        underway._check_keys(given.inputs, given.unique_keys, underway._read_options('{}'))
    from (
        select
            coalesce(array_agg(coalesce(one.task -> 'input', '{}') order by one.number), '{}') as inputs,
            coalesce(array_agg(one.task ->> 'unique_key' order by one.number), '{}') as unique_keys
        from jsonb_array_elements(enqueue_many.tasks) with ordinality as one (task, number)
    ) given;

    for v_run in
        select
            o.options ->> 'queue' as queue,
            o.options - 'queue' as options,
            array_agg(o.input order by o.number) as inputs,
            array_agg(o.unique_key order by o.number) as unique_keys
        from (
            select
                given.number,
                given.task - '{input,unique_key}'::text[] as options,
                coalesce(given.task -> 'input', '{}') as input,
                given.task ->> 'unique_key' as unique_key,
                given.task ->> 'unique_key' is not null as keyed,
                given.number - row_number() over (
                    partition by given.task - '{input,unique_key}'::text[], given.task ->> 'unique_key' is not null
                    order by given.number
                ) as run
            from jsonb_array_elements(enqueue_many.tasks) with ordinality as given (task, number)
        ) o
        group by o.options, o.keyed, o.run
        order by min(o.number)
    loop
        v_ids := v_ids || array(
            select made.id
            from underway._enqueue(
                v_run.queue, v_run.inputs, v_run.unique_keys, underway._read_options(v_run.options)
            ) with ordinality as made (id, created, replaced, number)
            order by made.number
        );
    end loop;

    return v_ids;
end;
$$;

comment on function underway.enqueue_many(jsonb) is
    'Enqueue tasks from an array of objects with the keys queue, input and the options of enqueue. Returns their ids in'
    ' the order of the objects.';
