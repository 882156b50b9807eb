-- heartbeat: the holder is alive; its leases last another heartbeat interval from now.
--
-- Writes: task, deferred_renewal.
-- Calls: _check_leases, _clock.
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
    v_now  timestamptz := underway._clock();
    v_held bigint[];
    v_late bigint[];
begin
    perform underway._check_leases(heartbeat.tasks, heartbeat.leases);

    -- SKIP LOCKED: one row that is locked for long, for example by the transaction of its own handler, must not delay the
    -- renewal of the others. A task that has run longer than its timeout is not renewed.
    update underway.task t
    set lease_expires_at = v_now + coalesce(
        t.heartbeat, (select j.heartbeat from underway.job j where j.name = t.job),
        (select q.heartbeat from underway.queue q where q.name = t.queue)
    )
    where t.ctid = any (array(
        select held.ctid
        from underway.task held
        where held.id = any (heartbeat.tasks)
          and coalesce(
              (held.id, held.lease) in (select unnest(heartbeat.tasks), unnest(heartbeat.leases)), false
          )
          and v_now < held.started_at + coalesce(
              held.timeout, (select j.timeout from underway.job j where j.name = held.job),
              (select q.timeout from underway.queue q where q.name = held.queue)
          )
        for no key update skip locked
    ));

    select array_agg(h.id), array_agg(h.id) filter (where h.lease_expires_at < h.renewed_until)
    into v_held, v_late
    from (
        select
            held.id, held.lease_expires_at,
            v_now + coalesce(
                held.heartbeat, (select j.heartbeat from underway.job j where j.name = held.job),
                (select q.heartbeat from underway.queue q where q.name = held.queue)
            ) as renewed_until
        from underway.task held
        where held.id = any (heartbeat.tasks)
          and coalesce((held.id, held.lease) in (select unnest(heartbeat.tasks), unnest(heartbeat.leases)), false)
          and v_now < held.started_at + coalesce(
              held.timeout, (select j.timeout from underway.job j where j.name = held.job),
              (select q.timeout from underway.queue q where q.name = held.queue)
          )
    ) h;

    -- The lock may be released after the lease has lapsed. The renewal is recorded beside the row, where _reclaim finds it.
    if v_late is not null then
        insert into underway.deferred_renewal (task, lease, lease_expires_at)
        select
            held.id, held.lease,
            v_now + coalesce(
                held.heartbeat, (select j.heartbeat from underway.job j where j.name = held.job),
                (select q.heartbeat from underway.queue q where q.name = held.queue)
            )
        from underway.task held
        where held.id = any (v_late)
          and held.lease is not null
        on conflict do nothing;
    end if;

    return query select renewed.id from unnest(v_held) as renewed (id);
end;
$$;

comment on function underway.heartbeat(bigint[], uuid[]) is
    'Renew the leases of running tasks, also of one whose row is locked by another transaction. Returns the ids that are'
    ' still held; the others were cancelled or lost, or have run longer than their timeout.';
