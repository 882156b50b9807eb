-- enqueue_batch: enqueue tasks as one batch, with callbacks: tasks that run when all have succeeded, when all are final,
-- or when the first has not succeeded.
--
--   -> pending
--   -> waiting
--
-- Writes: batch.
-- Calls: _add_to_batch, _block_tasks, _check_interval, _clock, _evaluate_batches, enqueue_many.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW007 input_too_large, UW010 unique_conflict,
--   UW011 queue_full, UW016 job_not_found.

create or replace function underway._enqueue_callback(batch bigint, event text, task jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_headers jsonb := coalesce(nullif(_enqueue_callback.task -> 'headers', 'null'), '{}');
begin
    if _enqueue_callback.task is null or _enqueue_callback.task = 'null' then
        return;
    end if;
    if jsonb_typeof(_enqueue_callback.task) <> 'object' or _enqueue_callback.task ?| array['unique_key', 'after']
       or jsonb_typeof(v_headers) <> 'object' then
        raise exception using
            errcode = 'UW001',
            message = format('on_%s is %s', _enqueue_callback.event, left(_enqueue_callback.task::text, 200)),
            hint = 'Give an object such as {"queue": "email", "input": {}}, without unique_key and after.';
    end if;

    perform underway._block_tasks(
        underway.enqueue_many(jsonb_build_array(
            _enqueue_callback.task || jsonb_build_object(
                'headers', v_headers || jsonb_build_object('batch', _enqueue_callback.batch)
            )
        )),
        _enqueue_callback.batch, _enqueue_callback.event
    );
end;
$$;

comment on function underway._enqueue_callback(bigint, text, jsonb) is
    'Enqueue a task that waits for an event of a batch; its headers name the batch.';

create or replace function underway.enqueue_batch(
    tasks jsonb,
    on_success jsonb default null,
    on_final jsonb default null,
    on_failure jsonb default null,
    name text default null,
    retention interval default '14 days'
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_batch bigint;
begin
    perform underway._check_interval('retention', coalesce(enqueue_batch.retention, '-1 second'), '0');

    insert into underway.batch (created_at, retention, implicit, name)
    values (underway._clock(), enqueue_batch.retention, false, enqueue_batch.name)
    returning id into v_batch;

    perform underway._add_to_batch(
        v_batch, array(select distinct unnest(underway.enqueue_many(enqueue_batch.tasks)))
    );
    perform underway._enqueue_callback(v_batch, 'success', enqueue_batch.on_success);
    perform underway._enqueue_callback(v_batch, 'final', enqueue_batch.on_final);
    perform underway._enqueue_callback(v_batch, 'failure', enqueue_batch.on_failure);
    perform underway._evaluate_batches(array[v_batch]);

    return v_batch;
end;
$$;

comment on function underway.enqueue_batch(jsonb, jsonb, jsonb, jsonb, text, interval) is
    'Enqueue tasks from an array of objects, as enqueue_many does, and a task that runs when all have succeeded, one when all'
    ' are final, and one when the first has failed or was cancelled. Returns the id of the batch.';
