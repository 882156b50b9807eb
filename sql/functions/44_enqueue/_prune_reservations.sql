-- _prune_reservations: delete the reservations of unique keys whose time (unique_for) is over.
--
-- Writes: unique_reservation.
-- Calls: _clock.

create or replace function underway._prune_reservations(max_holds integer default 1000)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now    timestamptz := underway._clock();
    v_pruned integer;
begin
    -- A reservation that another transaction is taking over is skipped.
    delete from underway.unique_reservation h
    where h.ctid = any (array(
        select expired.ctid
        from underway.unique_reservation expired
        where expired.expires_at <= v_now
        order by expired.expires_at
        limit _prune_reservations.max_holds
        for update skip locked
    ));
    get diagnostics v_pruned = row_count;

    return v_pruned;
end;
$$;

comment on function underway._prune_reservations(integer) is
    'Delete at most max_holds reservations of unique keys whose time (unique_for) is over. Returns how many.';
