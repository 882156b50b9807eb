-- _end_waiting: what tasks have waited for is there.
--
--   waiting -> pending
--
-- Writes: task.

create or replace function underway._end_waiting(tasks bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_now   timestamptz := underway._clock_of_writer();
    v_ready record;
begin
    for v_ready in
        with ready as (
            update underway.task t
            set
                state = 'pending',
                ready_at = greatest(t.ready_at, underway._ready_from(t.queue, t.priority, v_now))
            where t.id = any (_end_waiting.tasks)
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

comment on function underway._end_waiting(bigint[]) is
    'Make waiting tasks pending: ready now, or when they are due.';
