-- dequeue: claim ready tasks of some queues: the highest priority first, then those that have been ready for longest.
--
-- Claims lock rows with SKIP LOCKED and share the claim lock of a queue. Where a queue has limits, one claim at a time
-- decides (_claim_within_limits).
--
--   pending -> in_progress
--   pending -> cancelled, when it has expired
--
-- Writes: task.
-- Calls: _advance_watermark, _attempt_settings, _check_claim, _claim_lock, _claim_within_limits, _clock, _expire_front,
--   _lanes_to_claim, _lock_queue_as_seen, _mark_queue_keyed, _queues_with_tasks.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.dequeue(queues text[], max_tasks integer default 1, worker bigint default null)
returns setof underway.claimed_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- plans are kept: none made for an empty table may read a full one
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off -- rows are updated in the order in which they were locked
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now       timestamptz := underway._clock();
    v_lease     uuid := gen_random_uuid();
    v_queues    text[] := dequeue.queues;
    v_remaining integer := dequeue.max_tasks;
    v_lane      record;
    v_rows      tid[];
    v_has_slots boolean; -- of a queue with limits
    v_settings  underway.attempt_settings[];
    v_claimed   integer;
    v_expired   integer;
    v_to_expire integer := 1000; -- at most, in this call
begin
    if (dequeue.max_tasks between 0 and 10000) is not true then
        perform underway._check_claim(dequeue.queues, dequeue.max_tasks);
    elsif cardinality(dequeue.queues) > 50 then
        v_queues := underway._queues_with_tasks(dequeue.queues, v_now);
    end if;

    -- Queues of one priority come in random order, so that none starves.
    <<lanes>>
    for v_lane in
        select * from underway._lanes_to_claim(v_queues, v_now) lane order by lane.priority desc, random()
    loop
        exit when v_remaining = 0;

        loop
            if v_lane.has_limits then
                continue lanes when not pg_try_advisory_xact_lock(underway._claim_lock(v_lane.queue));
                v_rows := underway._claim_within_limits(v_lane.queue, v_lane.priority, v_lane.starts_at, v_remaining);
                v_has_slots := (select q.max_running is not null from underway.queue q where q.name = v_lane.queue);
            else
                continue lanes when not pg_try_advisory_xact_lock_shared(underway._claim_lock(v_lane.queue))
                    or (current_setting('transaction_isolation') <> 'read committed'
                        and not underway._lock_queue_as_seen(v_lane.queue));
                v_rows := array(
                    select t.ctid
                    from underway.task t
                    where t.queue = v_lane.queue and t.priority = v_lane.priority
                      and t.ready_at between v_lane.starts_at and v_now
                      and t.state = 'pending' and not t.parked
                    order by t.ready_at, t.id
                    limit v_remaining for no key update skip locked
                );
            end if;
            exit when v_rows = '{}';
            v_settings := case when v_lane.jobs_have_attempts then underway._attempt_settings(v_rows) end;
            return query
            update underway.task t
            set
                state = 'in_progress', parked = false, attempt = t.attempt + 1,
                holds_slot = v_lane.has_limits and v_has_slots,
                unique_key = case when t.unique_until_start is null then t.unique_key end,
                started_at = v_now, worker = dequeue.worker, lease = v_lease,
                lease_expires_at = v_now + coalesce(t.heartbeat, locked.heartbeat, v_lane.heartbeat)
            from unnest(v_rows, v_settings) as locked (ctid, timeout, heartbeat, max_attempts)
            where t.ctid = locked.ctid
              and (t.expires_at <= v_now) is not true
              -- Since the loop read the queue, a limit, a pause or a task with a key may have come:
              and (v_lane.has_limits or (t.concurrency_key is null and (
                  select q.paused_at is null and q.max_running is null and q.rate_limit is null and not q.fair
                  from underway.queue q where q.name = v_lane.queue
              )))
            returning
                t.id, t.queue, t.job, t.input, t.attempt, t.lease, coalesce(t.timeout, locked.timeout, v_lane.timeout),
                coalesce(t.heartbeat, locked.heartbeat, v_lane.heartbeat), t.headers, t.priority, t.enqueued_at,
                t.dead_letter, coalesce((t.retry_policy).max_attempts, locked.max_attempts, v_lane.max_attempts);
            get diagnostics v_claimed = row_count;
            v_remaining := v_remaining - v_claimed;
            -- About once per 1,000 tasks, and in 1% of small claims: that bounds the dead entries that a claim reads.
            if random() < 0.01 + v_claimed / 1000.0 then
                perform underway._advance_watermark(v_lane.queue, v_lane.priority);
            end if;
            exit when v_claimed = cardinality(v_rows);

            -- Tasks were left out. Without the expired ones there may be others to claim.
            v_expired := underway._expire_front(v_lane.queue, v_lane.priority, v_lane.starts_at, v_now, v_to_expire);
            v_to_expire := v_to_expire - v_expired;
            if v_expired = 0 then
                perform underway._mark_queue_keyed(v_lane.queue);
                exit;
            end if;
        end loop;
    end loop;

    -- Of many queues those that do not exist are looked for only when nothing was found.
    if not found or cardinality(dequeue.queues) between 2 and 10 then
        perform underway._check_claim(dequeue.queues, dequeue.max_tasks);
    end if;
end;
$$;

comment on function underway.dequeue(text[], integer, bigint) is
    'Claim at most max_tasks ready tasks of the queues, under one lease. Never waits; returns at once when there are none.';
