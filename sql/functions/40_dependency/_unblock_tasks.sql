-- _unblock_tasks: make waiting tasks pending, because their dependencies are met.
--
--   waiting -> pending
--
-- Writes: task.
-- Calls: _clock, _earliest_ready_at, _wake.

create or replace function underway._unblock_tasks(tasks bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now   timestamptz := underway._clock();
    v_ready record;
begin
    for v_ready in
        with ready as (
            update underway.task t
            set
                state = 'pending',
                ready_at = greatest(t.ready_at, underway._earliest_ready_at(t.queue, t.priority))
            where t.id = any (_unblock_tasks.tasks)
              and t.state = 'waiting'
            returning t.queue, t.ready_at
        )
        select r.queue, min(r.ready_at) - v_now as delay
        from ready r
        group by r.queue
    loop
        perform underway._wake(v_ready.queue, v_ready.delay);
    end loop;
end;
$$;

comment on function underway._unblock_tasks(bigint[]) is
    'Make waiting tasks pending: ready now, or at the time that they were enqueued for.';
