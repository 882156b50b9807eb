-- stop_workers: ask workers to stop as a signal does: they claim nothing more, let what runs end, and give back the rest.
--
-- Writes: worker.
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
            message = 'it is not said which workers are to stop',
            hint = 'Give one of: the id of a worker, a queue, for all workers that serve it, or all_workers => true.';
    end if;

    update underway.worker w
    set stop_asked_at = v_now
    where w.stop_asked_at is null
      and (w.id = stop_workers.worker or stop_workers.queue = any (w.queues) or stop_workers.all_workers);
    get diagnostics v_asked = row_count;

    return v_asked;
end;
$$;

comment on function underway.stop_workers(bigint, text, boolean) is
    'Ask one worker to stop, those that serve a queue, or everyone; each hears of it within a second. Workers that start'
    ' later are not meant. Returns how many were asked.';
