-- enqueue_many: new tasks from an array of objects, each with its own options, named as those of enqueue.
--
-- Neighbours that differ in their inputs and unique keys only are enqueued together, those without a key by themselves.
-- Unique keys are taken in the order of the objects otherwise: sessions that do it with the same keys in opposite orders
-- wait for each other in a circle, which PostgreSQL ends with an error. enqueue_unique takes them in one order.
--
--   -> pending
--
-- Writes: nothing.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state, UW007 input_too_large, UW010 unique_conflict, UW011 queue_full.

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

    select format('task %s %s', checked.place, checked.wrong)
    into v_problem
    from (
        select given.place, case
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
                    'queue', 'input', 'job', 'delay', 'run_at', 'priority', 'retry_policy', 'timeout', 'heartbeat', 'retention',
                    'headers', 'unique_key', 'on_conflict', 'unique_for', 'concurrency_key', 'after', 'after_failure',
                    'retry_policy.max_attempts', 'retry_policy.initial_interval', 'retry_policy.max_interval',
                    'retry_policy.factor', 'retry_policy.jitter'
                ])
                limit 1
            )
        end as wrong
        from jsonb_array_elements(_check_objects.tasks) with ordinality as given (task, place)
    ) checked
    where checked.wrong is not null
    order by checked.place
    limit 1;

    if found then
        raise exception using
            errcode = 'UW001',
            message = v_problem,
            hint = 'Each task is an object with a queue, an input and the options of underway.enqueue.';
    end if;
end;
$$;

comment on function underway._check_objects(jsonb) is 'Refuse what is no array of tasks with their options.';

create or replace function underway.enqueue_many(tasks jsonb)
returns bigint[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids    bigint[] := '{}';
    v_run    record;
    v_policy jsonb;
begin
    perform underway._check_objects(enqueue_many.tasks);

    -- Here, where the places are known; the calls know of their own tasks only.
    perform underway._check_inputs(given.inputs), underway._check_keys(given.inputs, given.keys, 'return', null, null)
    from (
        select
            coalesce(array_agg(coalesce(one.task -> 'input', '{}') order by one.place), '{}') as inputs,
            coalesce(array_agg(one.task ->> 'unique_key' order by one.place), '{}') as keys
        from jsonb_array_elements(enqueue_many.tasks) with ordinality as one (task, place)
    ) given;

    for v_run in
        select
            o.options,
            array_agg(o.input order by o.place) as inputs,
            case when o.keyed then array_agg(o.unique_key order by o.place) end as unique_keys
        from (
            select
                given.place,
                given.task - '{input,unique_key}'::text[] as options,
                coalesce(given.task -> 'input', '{}') as input,
                given.task ->> 'unique_key' as unique_key,
                given.task ->> 'unique_key' is not null as keyed,
                given.place - row_number() over (
                    partition by given.task - '{input,unique_key}'::text[], given.task ->> 'unique_key' is not null
                    order by given.place
                ) as run
            from jsonb_array_elements(enqueue_many.tasks) with ordinality as given (task, place)
        ) o
        group by o.options, o.keyed, o.run
        order by min(o.place)
    loop
        v_policy := nullif(v_run.options -> 'retry_policy', 'null');
        v_ids := v_ids || underway.enqueue_many(
            v_run.options ->> 'queue',
            v_run.inputs,
            v_run.options ->> 'job',
            (v_run.options ->> 'delay')::interval,
            (v_run.options ->> 'run_at')::timestamptz,
            coalesce((v_run.options ->> 'priority')::integer, 0),
            case when v_policy is not null then underway.retry_policy(
                coalesce((v_policy ->> 'max_attempts')::integer, 5),
                coalesce((v_policy ->> 'initial_interval')::interval, '1 second'),
                coalesce((v_policy ->> 'max_interval')::interval, '60 seconds'),
                coalesce((v_policy ->> 'factor')::double precision, 2.0),
                coalesce((v_policy ->> 'jitter')::double precision, 0.5)
            ) end,
            (v_run.options ->> 'timeout')::interval,
            (v_run.options ->> 'heartbeat')::interval,
            (v_run.options ->> 'retention')::interval,
            nullif(v_run.options -> 'headers', 'null'),
            v_run.unique_keys,
            coalesce(v_run.options ->> 'on_conflict', 'return'),
            (v_run.options ->> 'unique_for')::interval,
            v_run.options ->> 'concurrency_key',
            nullif(array(select jsonb_array_elements_text(nullif(v_run.options -> 'after', 'null'))), '{}')::bigint[],
            coalesce(v_run.options ->> 'after_failure', 'wait')
        );
    end loop;

    return v_ids;
end;
$$;

comment on function underway.enqueue_many(jsonb) is
    'Enqueue tasks from an array of objects with the keys queue, input and the options of enqueue. Returns their ids in'
    ' the order of the objects.';
