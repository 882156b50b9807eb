-- heartbeat: the holder is alive; its leases last another heartbeat interval from now.
--
-- Writes: task.
-- Raises: UW001 invalid_argument.

create or replace function underway.heartbeat(tasks bigint[], leases uuid[])
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now timestamptz := underway._clock();
begin
    perform underway._check_leases(heartbeat.tasks, heartbeat.leases);

    -- A row that is locked is being settled, perhaps in a long transaction of its handler: it is passed over, so that
    -- the other leases do not lapse meanwhile. A task that has run longer than its timeout is not renewed.
    update underway.task t
    set lease_expires_at = v_now + coalesce(
        t.heartbeat, (select q.heartbeat from underway.queue q where q.name = t.queue)
    )
    where t.ctid = any (array(
        select held.ctid
        from underway.task held
        where held.id = any (heartbeat.tasks)
          and coalesce(
              (held.id, held.lease) in (select unnest(heartbeat.tasks), unnest(heartbeat.leases)), false
          )
          and v_now < held.started_at + coalesce(
              held.timeout, (select q.timeout from underway.queue q where q.name = held.queue)
          )
        for no key update skip locked
    ));

    return query
    select held.id
    from underway.task held
    where held.id = any (heartbeat.tasks)
      and coalesce((held.id, held.lease) in (select unnest(heartbeat.tasks), unnest(heartbeat.leases)), false)
      and v_now < held.started_at + coalesce(
          held.timeout, (select q.timeout from underway.queue q where q.name = held.queue)
      );
end;
$$;

comment on function underway.heartbeat(bigint[], uuid[]) is
    'Renew the leases of running tasks. Returns the ids that are still held; the others were cancelled or lost, or have'
    ' run longer than their timeout.';
