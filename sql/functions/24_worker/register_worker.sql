-- register_worker: add a worker to the list of workers, so that it appears in worker_stats and can be notified.
--
-- Writes: worker.
-- Calls: _check_claim, _clock.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.register_worker(
    name text,
    queues text[],
    concurrency integer default null,
    version text default null
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := underway._clock();
    v_id  bigint;
begin
    if coalesce(register_worker.name, '') = '' then
        raise exception using
            errcode = 'UW001',
            message = 'the worker has no name',
            hint = 'Give a name that identifies the worker to people, such as host and process id.';
    end if;
    if register_worker.queues = '{}' or register_worker.concurrency < 1 then
        raise exception using
            errcode = 'UW001',
            message = format('worker %L has queues %L and concurrency %s', register_worker.name,
                register_worker.queues, coalesce(register_worker.concurrency::text, 'null')),
            hint = 'Give at least one queue, and a concurrency of at least 1 or null.';
    end if;
    perform underway._check_claim(register_worker.queues, 0);

    insert into underway.worker (name, queues, concurrency, version, started_at, seen_at)
    values (
        register_worker.name, register_worker.queues, register_worker.concurrency, register_worker.version, v_now, v_now
    )
    returning id into v_id;

    return v_id;
end;
$$;

comment on function underway.register_worker(text, text[], integer, text) is
    'Register a worker; version is that of its program, for people. Returns its id, which dequeue, set_idle, maintain,'
    ' worker_state and unregister_worker take.';
