-- _enqueue_one: insert one task, by one statement if it is plain.
--
-- Each statement and each expression counts here: PL/pgSQL prepares all that are executed again in each transaction, and
-- most transactions enqueue one task (docs/decisions/0013). So the insert itself decides whether the task is plain. A
-- task that is not plain, or that is to be refused, is not inserted by it and takes the general way (_enqueue).
--
--   -> pending
--
-- Writes: task.
-- Calls: _clock, _enqueue, _max_input_size, _plain_queue, _wake.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW004 task_not_found, UW005 wrong_state,
--   UW007 input_too_large, UW010 unique_conflict, UW011 queue_full, UW016 job_not_found.

create or replace function underway._enqueue_one(
    queue text,
    input jsonb,
    job text,
    priority integer,
    headers jsonb,
    options underway.task_options,
    unique_key text
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    v_id   bigint;
    v_wake boolean;
begin
    -- The default of ready_at is the clock: it is read while the statement has its lock on `task`, as the watermark needs.
    insert into underway.task as t (queue, job, input, priority, enqueued_at, headers)
    select
        q.name, _enqueue_one.job, _enqueue_one.input, coalesce(_enqueue_one.priority, 0), underway._clock(),
        _enqueue_one.headers
    from underway._plain_queue(_enqueue_one.queue, _enqueue_one.job, _enqueue_one.priority) as q (name)
    where _enqueue_one.options is null
      and _enqueue_one.unique_key is null
      and (jsonb_typeof(_enqueue_one.headers) <> 'object') is not true
      -- A look at the limit costs a plain enqueue 3%. It is 1 kB at least.
      and case
          when octet_length(_enqueue_one.input::text) <= 1024 then true
          else octet_length(_enqueue_one.input::text) <= underway._max_input_size()
      end
    returning t.id, exists (
        select
        from underway.worker w
        where w.idle
          and t.queue = any (w.queues)
          and w.seen_at between t.enqueued_at - interval '30 seconds' and t.enqueued_at + interval '30 seconds'
    )
    into v_id, v_wake;

    if v_wake is not false then
        if v_id is not null then
            perform underway._wake(_enqueue_one.queue);
        else
            return (
                select e.id
                from underway._enqueue(
                    _enqueue_one.queue, array[_enqueue_one.input], array[_enqueue_one.unique_key],
                    case
                        when _enqueue_one.options is null then row(
                            _enqueue_one.job, null, null, _enqueue_one.priority, null, null, null, null, null, null,
                            _enqueue_one.headers, 'return', null, 'finish', null, null, 'wait'
                        )::underway.task_options
                        else _enqueue_one.options
                    end
                ) e
            );
        end if;
    end if;

    return v_id;
end;
$$;

comment on function underway._enqueue_one(text, jsonb, text, integer, jsonb, underway.task_options, text) is
    'Enqueue one task. Null options are the defaults of enqueue. Options repeat the job, the priority and the headers.';
