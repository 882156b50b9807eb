-- maintain: the one chore. Each part is bounded, and passes over what another session is doing.
--
-- Writes: worker.

create or replace function underway.maintain(worker bigint default null)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now       timestamptz := underway._clock();
    v_forgotten integer;
begin
    -- A worker is seen every few seconds, so that one that does nothing writes next to nothing.
    update underway.worker w
    set seen_at = v_now
    where w.id = maintain.worker
      and w.seen_at < v_now - interval '10 seconds';

    delete from underway.worker w
    where w.id = any (array(
        select lost.id
        from underway.worker lost
        where lost.seen_at < v_now - interval '1 hour'
        for update skip locked
    ));
    get diagnostics v_forgotten = row_count;

    perform underway._reevaluate_batches();
    perform underway._prune_reservations();
    perform underway._prune_buckets();
    perform underway._prune_batches();

    return jsonb_build_object(
        'scheduled', underway.run_schedules(),
        'reclaimed', underway._reclaim(),
        'pruned', underway._prune(),
        'forgotten_workers', v_forgotten
    );
end;
$$;

comment on function underway.maintain(bigint) is
    'Enqueue what schedules have due, reclaim lapsed leases, prune the history, see to batches, forget lost workers. Returns what was'
    ' done. Call it every second from as many sessions as you like; a worker passes its id and is seen thereby.';
