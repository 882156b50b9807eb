-- _check_workers: record an event for each worker that was not seen for a minute, and forget it after an hour.
--
-- Writes: worker.
-- Calls: _clock, _record_event.

create or replace function underway._check_workers()
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now     timestamptz := underway._clock();
    v_workers integer;
begin
    with lost as (
        update underway.worker w
        set lost_at = v_now
        where w.id = any (array(
            select unseen.id
            from underway.worker unseen
            where unseen.seen_at < v_now - interval '1 minute'
              and (unseen.lost_at >= unseen.seen_at) is not true
            for no key update skip locked
        ))
        returning w.id, w.name, w.queues, w.seen_at
    )
    select count(underway._record_event('worker_lost', details => jsonb_build_object(
        'worker', l.id, 'name', l.name, 'queues', to_jsonb(l.queues), 'seen_at', l.seen_at
    )))
    into v_workers
    from lost l;

    delete from underway.worker w
    where w.id = any (array(
        select lost.id
        from underway.worker lost
        where lost.seen_at < v_now - interval '1 hour'
        for update skip locked
    ));
    get diagnostics v_workers = row_count;

    return v_workers;
end;
$$;

comment on function underway._check_workers() is
    'Record an event for each worker that was not seen for a minute, and forget it after an hour. Returns how many were'
    ' forgotten.';
