-- _reclaim: take back the tasks whose lease has lapsed; the attempt has failed.
--
--   in_progress -> pending | failed
--
-- Writes: task, deferred_renewal.
-- Calls: _clock, _one_in, fail_many.

create or replace function underway._reclaim(
    max_tasks integer default 1000,
    everything boolean default underway._one_in(60)
)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now           timestamptz := underway._clock();
    -- Leases that lapsed lately are read each time, the others about once a minute: a long snapshot keeps the dead index
    -- entries of all leases that were ever held meanwhile, and a read from the beginning would pass them every second.
    v_since         timestamptz := case
        when _reclaim.everything then '-infinity' else v_now - interval '10 minutes'
    end;
    v_tasks         bigint[];
    v_leases        uuid[];
    v_errors        jsonb[];
    v_renewed       bigint[];
    v_renewed_until timestamptz[];
begin
    select
        array_agg(l.id) filter (where l.renewed_until is null),
        array_agg(l.lease) filter (where l.renewed_until is null),
        array_agg(jsonb_build_object(
            'type', 'LeaseLapsed',
            'message', format(
                'lease lapsed: worker %s did not renew it until %s',
                coalesce((select w.name from underway.worker w where w.id = l.worker), l.worker::text, 'unknown'),
                l.lease_expires_at
            )
        )) filter (where l.renewed_until is null),
        array_agg(l.id) filter (where l.renewed_until is not null),
        array_agg(l.renewed_until) filter (where l.renewed_until is not null)
    into v_tasks, v_leases, v_errors, v_renewed, v_renewed_until
    from (
        select
            lapsed.*,
            -- A heartbeat that found the row locked (heartbeat) has renewed the lease all the same.
            (
                select max(r.lease_expires_at)
                from underway.deferred_renewal r
                where r.task = lapsed.id
                  and r.lease = lapsed.lease
                  and r.lease_expires_at > v_now
            ) as renewed_until
        from (
            select t.id, t.lease, t.worker, t.lease_expires_at
            from underway.task t
            where t.state = 'in_progress'
              and t.lease_expires_at between v_since and v_now
            order by t.lease_expires_at, t.id
            limit _reclaim.max_tasks
            for no key update skip locked
        ) lapsed
    ) l;

    if v_renewed is not null then
        update underway.task t
        set lease_expires_at = given.renewed_until
        from unnest(v_renewed, v_renewed_until) as given (task, renewed_until)
        where t.id = given.task;
    end if;

    if v_tasks is not null then
        perform from underway.fail_many(v_tasks, v_leases, v_errors);
    end if;

    delete from underway.deferred_renewal r
    where r.ctid = any (array(
        select past.ctid
        from underway.deferred_renewal past
        where past.lease_expires_at <= v_now
        order by past.lease_expires_at
        limit _reclaim.max_tasks
        for update skip locked
    ));

    return coalesce(cardinality(v_tasks), 0);
end;
$$;

comment on function underway._reclaim(integer, boolean) is
    'Fail the attempts whose lease has lapsed: in the last ten minutes, or ever. Returns how many there were; several'
    ' sessions share the work.';
