-- release_many: the holder gives tasks back that it will not run; their attempts do not count.
--
--   in_progress -> pending
--
-- Writes: task.
-- Raises: UW001 invalid_argument.

create or replace function underway.release_many(tasks bigint[], leases uuid[])
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
    v_released bigint[];
    v_queues   text[];
    v_keys     text[];
begin
    perform underway._check_leases(release_many.tasks, release_many.leases);

    perform underway._lock_front(array(
        select t.queue from underway.task t where t.id = any (release_many.tasks)
    ));

    with released as (
        update underway.task t
        set
            state = 'pending',
            ready_at = underway._front_at(t.queue, t.priority, t.ready_at),
            attempt = t.attempt - 1,
            started_at = null,
            lease = null,
            lease_expires_at = null,
            holds_slot = false
        where t.id = any (release_many.tasks)
          and coalesce(
              (t.id, t.lease) in (select unnest(release_many.tasks), unnest(release_many.leases)), false
          )
        returning t.id, t.queue, t.concurrency_key
    )
    select array_agg(r.id), array_agg(r.queue), array_agg(r.concurrency_key)
    into v_released, v_queues, v_keys
    from released r;

    if v_released is not null then
        perform underway._release_slots(v_queues, v_keys);
    end if;

    return query select settled.id from unnest(v_released) as settled (id);
end;
$$;

comment on function underway.release_many(bigint[], uuid[]) is
    'Give a batch of tasks back, each under its lease, without using up an attempt. Returns the ids that were given back;'
    ' the leases of the others are lost.';
