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
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_now    timestamptz := underway._clock();
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
