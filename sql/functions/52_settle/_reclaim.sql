-- _reclaim: take back the tasks whose lease has lapsed; the attempt has failed.
--
--   in_progress -> pending | failed
--
-- Writes: nothing.

create or replace function underway._reclaim(max_tasks integer default 1000)
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
    v_now    timestamptz := underway._clock();
    -- Under a long-running snapshot the index keeps the entries of leases that ended long ago. Nearly every call skips them.
    v_from   timestamptz := case when random() < 1.0 / 60 then '-infinity' else v_now - interval '10 minutes' end;
    v_tasks  bigint[];
    v_leases uuid[];
    v_errors jsonb[];
begin
    select
        array_agg(lapsed.id), array_agg(lapsed.lease),
        array_agg(jsonb_build_object(
            'type', 'LeaseLapsed',
            'message', format(
                'lease lapsed: worker %s did not renew it until %s',
                coalesce((select w.name from underway.worker w where w.id = lapsed.worker), lapsed.worker::text, 'unknown'),
                lapsed.lease_expires_at
            )
        ))
    into v_tasks, v_leases, v_errors
    from (
        select t.id, t.lease, t.worker, t.lease_expires_at
        from underway.task t
        where t.state = 'in_progress'
          and t.lease_expires_at <= v_now
          and t.lease_expires_at >= v_from
        order by t.lease_expires_at, t.id
        limit _reclaim.max_tasks
        for no key update skip locked
    ) lapsed;

    if v_tasks is not null then
        perform from underway.fail_many(v_tasks, v_leases, v_errors);
    end if;

    return coalesce(cardinality(v_tasks), 0);
end;
$$;

comment on function underway._reclaim(integer) is
    'Fail the attempts whose lease has lapsed. Returns how many there were; several sessions share the work.';
