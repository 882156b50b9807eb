-- enqueue_unique: new tasks with unique keys, of which at most one is live in its queue; what became of each input.
--
--   -> pending
--
-- Keys are taken one after the other in the order of keys, whatever order they come in: so calls with the same keys
-- never wait for each other in a circle.
--
-- Writes: nothing.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state, UW007 input_too_large, UW010 unique_conflict, UW011 queue_full.

create or replace function underway.enqueue_unique(
    queue text,
    inputs jsonb[],
    unique_keys text[],
    job text default null,
    delay interval default null,
    run_at timestamptz default null,
    priority integer default 0,
    retry_policy underway.retry_policy default null,
    timeout interval default null,
    heartbeat interval default null,
    retention interval default null,
    headers jsonb default null,
    on_conflict text default 'return',
    unique_for interval default null,
    concurrency_key text default null,
    after bigint[] default null,
    after_failure text default 'wait'
)
returns setof underway.enqueued_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now      timestamptz := underway._clock();
    v_task     underway.task;
    v_ids      bigint[] := array(select nextval('underway.task_id_seq') from unnest(enqueue_unique.inputs));
    v_created  boolean[] := array_fill(false, array[cardinality(v_ids)]);
    v_replaced boolean[] := v_created;
    v_key      record;
    v_place    integer;
    v_one      underway.enqueued_task;
begin
    v_task.ready_at := underway._check_options(
        enqueue_unique.queue, enqueue_unique.delay, enqueue_unique.run_at, v_now, enqueue_unique.priority,
        enqueue_unique.retry_policy, enqueue_unique.timeout, enqueue_unique.heartbeat, enqueue_unique.retention,
        enqueue_unique.headers
    );
    perform underway._check_inputs(enqueue_unique.inputs);
    perform underway._check_keys(
        enqueue_unique.inputs, coalesce(enqueue_unique.unique_keys, '{}'), enqueue_unique.on_conflict,
        enqueue_unique.unique_for, enqueue_unique.concurrency_key
    );
    perform underway._ensure_priority(enqueue_unique.queue, enqueue_unique.priority);
    if enqueue_unique.concurrency_key is not null then
        perform underway._mark_queue_keyed(enqueue_unique.queue);
    end if;

    v_task.queue := enqueue_unique.queue;
    v_task.job := enqueue_unique.job;
    v_task.priority := enqueue_unique.priority;
    v_task.enqueued_at := v_now;
    v_task.retry_policy := enqueue_unique.retry_policy;
    v_task.timeout := enqueue_unique.timeout;
    v_task.heartbeat := enqueue_unique.heartbeat;
    v_task.retention := enqueue_unique.retention;
    v_task.headers := enqueue_unique.headers;
    v_task.concurrency_key := enqueue_unique.concurrency_key;

    -- Of inputs with one key the first makes the task, and the others meet it; of those that replace it the last counts.
    for v_key in
        select
            given.unique_key collate "C" as unique_key,
            array_agg(given.place order by given.place) as places,
            (array_agg(given.input order by case
                when enqueue_unique.on_conflict = 'replace' then -given.place else given.place
            end))[1] as input
        from unnest(enqueue_unique.inputs, enqueue_unique.unique_keys) with ordinality as given (input, unique_key, place)
        group by given.unique_key collate "C", case when given.unique_key is null then given.place end
        order by 1, 2
    loop
        v_task.id := v_ids[v_key.places[1]];
        v_task.unique_key := v_key.unique_key;
        v_task.input := v_key.input;
        v_one := underway._insert_unique(v_task, enqueue_unique.on_conflict, enqueue_unique.unique_for, v_now);

        foreach v_place in array v_key.places loop
            v_ids[v_place] := v_one.id;
            v_replaced[v_place] := v_one.replaced or (v_one.created and enqueue_unique.on_conflict = 'replace');
        end loop;

        if v_one.created then
            v_created[v_key.places[1]] := true;
            v_replaced[v_key.places[1]] := false;
            if enqueue_unique.on_conflict = 'error' and cardinality(v_key.places) > 1 then
                perform underway._raise_unique_conflict(enqueue_unique.queue, v_key.unique_key, v_one.id);
            end if;
        end if;
    end loop;

    perform underway._check_length(
        enqueue_unique.queue, cardinality(array_positions(v_created, true)), inserted => true
    );
    perform underway._add_dependencies(
        array(select made.id from unnest(v_ids, v_created) as made (id, created) where made.created),
        enqueue_unique.after, enqueue_unique.after_failure
    );
    if true = any (v_created || v_replaced) then
        perform underway._wake(enqueue_unique.queue, v_task.ready_at - v_now);
    end if;

    return query select * from unnest(v_ids, v_created, v_replaced);
end;
$$;

comment on function underway.enqueue_unique(
    text, jsonb[], text[], text, interval, timestamptz, integer, underway.retry_policy, interval, interval, interval,
    jsonb, text, interval, text, bigint[], text
) is
    'Enqueue a task for each input whose unique key is free; on_conflict says what becomes of the others: return the id of'
    ' the task that has the key, error, or replace what that one is while it is pending. With unique_for a key is taken for'
    ' so long, whether its task has succeeded or not. Returns a row for each input, in their order.';
