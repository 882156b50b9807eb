-- stop_workers: ask workers to shut down as they do on SIGTERM: they claim no more tasks, wait for the running ones within
-- their shutdown_timeout, and release the rest.
--
-- Writes: worker.
-- Calls: _clock.
-- Raises: UW001 invalid_argument.

create or replace function underway.stop_workers(
    worker bigint default null,
    queue text default null,
    all_workers boolean default false
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now   timestamptz := underway._clock();
    v_asked integer;
begin
    if (stop_workers.worker is not null)::integer + (stop_workers.queue is not null)::integer
       + (stop_workers.all_workers is true)::integer <> 1 then
        raise exception using
            errcode = 'UW001',
            message = format(
                'worker is %s, queue is %s, all_workers is %s', coalesce(stop_workers.worker::text, 'null'),
                coalesce(quote_literal(stop_workers.queue), 'null'), coalesce(stop_workers.all_workers::text, 'null')
            ),
            hint = 'Give exactly one of: worker, queue, all_workers => true.';
    end if;

    update underway.worker w
    set stop_asked_at = v_now
    where w.stop_asked_at is null
      and (w.id = stop_workers.worker or stop_workers.queue = any (w.queues) or stop_workers.all_workers);
    get diagnostics v_asked = row_count;

    if v_asked > 0 then
        -- For workers that rest, because others look for them (72_upkeep/_notify_idle_workers.sql).
        perform pg_notify('underway_look', 'due');
    end if;

    return v_asked;
end;
$$;

comment on function underway.stop_workers(bigint, text, boolean) is
    'Ask one worker, all workers of a queue, or all workers to shut down. A worker receives the request within a second.'
    ' Workers that register later are not affected. Returns how many workers were asked.';
