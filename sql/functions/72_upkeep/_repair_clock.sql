-- _repair_clock: the clock was wrong and has been put back: bring times that lie in the future because of it back too.
--
-- Tasks that were enqueued or failed meanwhile keep the delay and the expiry that they were given; leases that were
-- taken last one heartbeat from now. Watermarks are reset. Rows that another session has locked are skipped.
--
-- Writes: task, worker.
-- Calls: _clock, _earliest_ready_at, _reset_watermark.

create or replace function underway._repair_clock()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
as $$
declare
    v_now timestamptz := underway._clock();
begin
    update underway.worker w set seen_at = v_now where w.seen_at > v_now;

    perform underway._reset_watermark(ahead.queue, ahead.priority)
    from (
        select distinct w.queue, w.priority
        from underway.watermark w
        where w.observed_at > v_now + interval '1 second'
    ) ahead;

    update underway.task t
    set
        ready_at = greatest(
            t.ready_at - (wrong.at - v_now), underway._earliest_ready_at(t.queue, t.priority)
        ),
        enqueued_at = least(t.enqueued_at, v_now),
        expires_at = t.expires_at - (wrong.at - v_now)
    from (
        select
            pending.ctid,
            greatest(
                pending.enqueued_at, (pending.errors -> -1 ->> 'failed_at')::timestamptz
            ) as at
        from underway.task pending
        where pending.state = 'pending'
          and pending.ready_at > v_now
        for no key update skip locked
    ) wrong
    where t.ctid = wrong.ctid
      and wrong.at > v_now;

    update underway.task t
    set
        started_at = v_now,
        lease_expires_at = v_now + coalesce(
            t.heartbeat, (select j.heartbeat from underway.job j where j.name = t.job),
            (select q.heartbeat from underway.queue q where q.name = t.queue), '30 seconds'
        )
    where t.ctid = any (array(
        select running.ctid
        from underway.task running
        where running.state = 'in_progress'
          and running.started_at > v_now
        for no key update skip locked
    ));
end;
$$;

comment on function underway._repair_clock() is
    'Bring times of tasks and workers back that were written while the clock was ahead.';
