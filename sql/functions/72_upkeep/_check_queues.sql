-- _check_queues: record an event for each queue that has become blocked, and for each that is not any more.
--
-- A queue is blocked if a task has been ready for more than five minutes, and no task was started in that time. A paused queue
-- is not. The depths that were sampled last say how old the oldest ready task is.
--
-- Writes: blocked_queue.
-- Calls: _clock, _record_event.

create or replace function underway._check_queues()
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
    v_queue record;
begin
    for v_queue in
        with blocked as materialized (
            select
                d.queue, d.oldest_ready_seconds,
                (
                    select true
                    from underway.worker w
                    where d.queue = any (w.queues)
                      and w.seen_at >= v_now - interval '1 minute'
                      and w.stop_asked_at is null
                    limit 1
                ) as has_worker
            from underway.queue_depth d
            join underway.queue q on q.name = d.queue
            where d.at = (select max(last.at) from underway.queue_depth last where last.at <= v_now)
              and d.queue <> ''
              and d.oldest_ready_seconds > 300
              and q.paused_at is null
              -- Attempts that began and have ended, and those that run.
              and not exists (
                  select
                  from underway.task_stat s
                  where s.step = 'minute'
                    and s.at >= v_now - interval '5 minutes'
                    and s.queue = d.queue
                    and s.started > 0
              )
              and not exists (
                  select
                  from underway.task t
                  where t.lease_expires_at >= v_now - interval '1 minute'
                    and t.queue = d.queue
                    and t.started_at >= v_now - interval '5 minutes'
              )
        )
        select
            coalesce(b.queue, known.queue) as name, b.queue is not null as is_blocked, b.oldest_ready_seconds, b.has_worker,
            known.blocked_at
        from blocked b
        full join underway.blocked_queue known on known.queue = b.queue
        where b.queue is null
           or known.queue is null
    loop
        if v_queue.is_blocked then
            insert into underway.blocked_queue (queue, blocked_at) values (v_queue.name, v_now) on conflict do nothing;
            perform underway._record_event('queue_blocked', v_queue.name, details => jsonb_build_object(
                'oldest_ready_seconds', round(v_queue.oldest_ready_seconds),
                'reason', case when v_queue.has_worker then 'not_claimed' else 'no_worker' end
            ));
        else
            delete from underway.blocked_queue b where b.queue = v_queue.name;
            perform underway._record_event('queue_unblocked', v_queue.name, details => jsonb_build_object(
                'blocked_seconds', round(extract(epoch from v_now - v_queue.blocked_at))
            ));
        end if;
    end loop;
end;
$$;

comment on function underway._check_queues() is
    'Record an event for each queue that has become blocked, and for each that is not any more.';
