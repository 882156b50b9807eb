-- cancel_many: end live tasks, running or not. The holders of running tasks lose their leases.
--
--   pending | waiting | in_progress -> cancelled
--
-- Writes: nothing.
-- Calls: _check_tasks, _conclude.
-- Raises: UW001 invalid_argument.

create or replace function underway.cancel_many(tasks bigint[])
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
    v_tasks   bigint[] := underway._check_tasks(cancel_many.tasks);
    v_live    bigint[];
    v_running bigint[];
begin
    select array_agg(locked.id), array_agg(locked.id) filter (where locked.lease is not null)
    into v_live, v_running
    from (select t.id, t.lease from underway.task t where t.id = any (v_tasks) order by t.id for update) locked;

    if v_live is not null then
        perform underway._conclude(v_live, null, 'cancelled');
        -- A hint: the next heartbeat of the holder reports the loss in any case.
        perform pg_notify('underway_cancelled', running.id::text) from unnest(v_running) as running (id);
        return query select cancelled.id from unnest(v_live) as cancelled (id);
    end if;
end;
$$;

comment on function underway.cancel_many(bigint[]) is
    'Cancel at most 1000 tasks. Final tasks are skipped. Returns the ids of the cancelled tasks.';
