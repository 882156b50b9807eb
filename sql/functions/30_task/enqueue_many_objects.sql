-- enqueue_many: new tasks from an array of objects, each with its own options, named as those of enqueue.
--
-- Unique keys are taken in the order of the objects: sessions that do it with the same keys in opposite orders wait for
-- each other in a circle, which PostgreSQL ends with an error. enqueue_unique takes them in one order.
--
--   -> pending
--
-- Writes: nothing.
-- Refuses: UW001 invalid_argument, UW003 queue_not_found, UW007 input_too_large, UW010 unique_conflict, UW011 queue_full.

create or replace function underway.enqueue_many(tasks jsonb)
returns bigint[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids    bigint[] := '{}';
    v_inputs jsonb[];
    v_keys   text[];
    v_task   jsonb;
    v_policy jsonb;
    v_wrong  text;
begin
    if jsonb_typeof(enqueue_many.tasks) is distinct from 'array' then
        raise exception using
            errcode = 'UW001',
            message = format('tasks are a JSON %s', coalesce(jsonb_typeof(enqueue_many.tasks), 'nothing')),
            hint = 'Give an array of objects, such as [{"queue": "email", "input": {"to": "a@example.com"}}].';
    end if;

    -- Here, where the places are known; the calls of enqueue know of one task each.
    v_inputs := array(
        select coalesce(given.task -> 'input', '{}') from jsonb_array_elements(enqueue_many.tasks) as given (task)
    );
    v_keys := array(
        select given.task ->> 'unique_key' from jsonb_array_elements(enqueue_many.tasks) as given (task)
    );
    perform underway._check_inputs(v_inputs);
    perform underway._check_keys(v_inputs, v_keys, 'return', null, null);

    for v_task in select given.task from jsonb_array_elements(enqueue_many.tasks) as given (task) loop
        if jsonb_typeof(v_task) <> 'object' then
            v_wrong := format('task %s is a JSON %s', cardinality(v_ids) + 1, jsonb_typeof(v_task));
        elsif jsonb_typeof(v_task -> 'retry_policy') not in ('object', 'null') then
            v_wrong := format('task %s has a retry_policy that is a JSON %s', cardinality(v_ids) + 1,
                jsonb_typeof(v_task -> 'retry_policy'));
        else
            v_policy := nullif(v_task -> 'retry_policy', 'null');
            select format('task %s has the unknown option %L', cardinality(v_ids) + 1, given.name)
            into v_wrong
            from (
                select jsonb_object_keys(v_task)
                union all
                select 'retry_policy.' || jsonb_object_keys(v_policy)
            ) as given (name)
            where given.name <> all (array[
                'queue', 'input', 'job', 'delay', 'run_at', 'priority', 'retry_policy', 'timeout', 'heartbeat', 'ttl',
                'headers', 'unique_key', 'on_conflict', 'unique_for', 'concurrency_key', 'retry_policy.max_attempts', 'retry_policy.initial_interval', 'retry_policy.max_interval',
                'retry_policy.factor', 'retry_policy.jitter'
            ])
            limit 1;
        end if;

        if v_wrong is not null then
            raise exception using
                errcode = 'UW001',
                message = v_wrong,
                hint = 'Each task is an object with a queue, an input and the options of underway.enqueue.';
        end if;

        v_ids := v_ids || underway.enqueue(
            v_task ->> 'queue',
            coalesce(v_task -> 'input', '{}'),
            v_task ->> 'job',
            (v_task ->> 'delay')::interval,
            (v_task ->> 'run_at')::timestamptz,
            coalesce((v_task ->> 'priority')::integer, 0),
            case when v_policy is not null then underway.retry_policy(
                coalesce((v_policy ->> 'max_attempts')::integer, 5),
                coalesce((v_policy ->> 'initial_interval')::interval, '1 second'),
                coalesce((v_policy ->> 'max_interval')::interval, '60 seconds'),
                coalesce((v_policy ->> 'factor')::double precision, 2.0),
                coalesce((v_policy ->> 'jitter')::double precision, 0.5)
            ) end,
            (v_task ->> 'timeout')::interval,
            (v_task ->> 'heartbeat')::interval,
            (v_task ->> 'ttl')::interval,
            nullif(v_task -> 'headers', 'null'),
            v_task ->> 'unique_key',
            coalesce(v_task ->> 'on_conflict', 'return'),
            (v_task ->> 'unique_for')::interval,
            v_task ->> 'concurrency_key'
        );
    end loop;

    return v_ids;
end;
$$;

comment on function underway.enqueue_many(jsonb) is
    'Enqueue tasks from an array of objects with the keys queue, input and the options of enqueue. Returns their ids in'
    ' the order of the objects.';
