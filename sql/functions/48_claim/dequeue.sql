-- dequeue: claim ready tasks of some queues: the highest priority first, then those that have been ready for longest.
--
-- Claims lock rows with SKIP LOCKED and share the claim lock of a queue. Where a queue has limits, one claim at a time
-- decides (_claim_within_limits). Each statement and expression counts here (docs/decisions/0034).
--
--   pending -> in_progress
--   pending -> cancelled, when it has expired
--
-- Writes: task.
-- Calls: _advance_watermark, _attempt_settings, _check_claim, _claim_lock, _claim_within_limits, _clock, _expire_front,
--   _lanes_to_claim, _lock_queue_as_seen, _starts_of_lanes.
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
    v_remaining integer := dequeue.max_tasks;
    v_lanes     underway.lane[]; -- null for a single queue, whose priorities are read together
    v_name      text := dequeue.queues[1];
    v_priority  integer;
    v_queue     record;
    v_settings  underway.attempt_settings[];
    v_claimed   integer;
begin
    if (dequeue.max_tasks between 1 and 10000 and cardinality(dequeue.queues) = 1) is not true then
        v_lanes := underway._lanes_to_claim(dequeue.queues, dequeue.max_tasks, v_now);
    end if;
    loop
        if v_lanes is not null then
            exit when v_lanes = '{}' or v_remaining = 0;
            v_name := (v_lanes[1]).queue;
            v_priority := (v_lanes[1]).priority;
            v_lanes := v_lanes[2:];
        end if;
        for v_try in 1..2 loop
            exit when not pg_try_advisory_xact_lock_shared(underway._claim_lock(v_name))
                or (current_setting('transaction_isolation') <> 'read committed' and not underway._lock_queue_as_seen(v_name));
            -- A statement after the lock: it sees the limits as they are now. Where there are none, it locks ready tasks.
            select
                q.timeout, q.heartbeat, (q.retry_policy).max_attempts, q.jobs_have_attempts, ready.*,
                q.has_slots,
                q.max_running is not null or q.rate_limit is not null or q.fair or q.has_keys as has_limits, q.fair
            into v_queue
            from underway.queue q
            cross join lateral (
                select array_agg(r.ctid) as tasks, array_agg(r.priority) as priorities
                from (
                    select t.ctid, lane.priority
                    from underway._starts_of_lanes(q.name, v_now) lane
                    cross join lateral (
                        select one.ctid from underway.task one
                        where one.queue = q.name and one.priority = lane.priority
                          and one.ready_at between lane.starts_at and v_now and one.state = 'pending' and not one.parked
                        order by one.ready_at, one.id limit v_remaining for no key update skip locked
                    ) t
                    where (v_priority is null or lane.priority = v_priority)
                      and q.max_running is null and q.rate_limit is null and not q.fair and not q.has_keys
                    limit v_remaining
                ) r
            ) ready
            where q.name = v_name and q.paused_at is null;
            if not found then
                perform underway._check_claim(dequeue.queues, dequeue.max_tasks);
            elsif v_queue.has_limits then
                if v_queue.fair and v_priority is null then
                    v_lanes := underway._lanes_to_claim(dequeue.queues, dequeue.max_tasks, v_now);
                    exit;
                end if;
                select l.tasks, l.priorities
                into v_queue.tasks, v_queue.priorities
                from underway._claim_within_limits(v_name, v_priority, v_remaining) l;
            end if;
            exit when (v_queue.tasks <> '{}') is not true;
            v_settings := case when v_queue.jobs_have_attempts then underway._attempt_settings(v_queue.tasks) end;
            return query
            update underway.task t
            set
                state = 'in_progress', parked = false, attempt = t.attempt + 1, holds_slot = v_queue.has_slots,
                unique_key = case when t.unique_until_start is null then t.unique_key end,
                started_at = v_now, worker = dequeue.worker, lease = v_lease,
                lease_expires_at = v_now + coalesce(t.heartbeat, (v_settings[locked.number]).heartbeat, v_queue.heartbeat)
            from (select ctid, number::integer from unnest(v_queue.tasks) with ordinality l (ctid, number)) locked
            where t.ctid = locked.ctid and (t.expires_at <= v_now) is not true
              and (v_queue.has_limits or t.concurrency_key is null)
            returning
                t.id, t.queue, t.job, t.input, t.attempt, t.lease,
                coalesce(t.timeout, (v_settings[locked.number]).timeout, v_queue.timeout),
                coalesce(t.heartbeat, (v_settings[locked.number]).heartbeat, v_queue.heartbeat),
                t.headers, t.priority, t.enqueued_at, t.dead_letter,
                coalesce((t.retry_policy).max_attempts, (v_settings[locked.number]).max_attempts, v_queue.max_attempts);
            get diagnostics v_claimed = row_count;
            v_remaining := v_remaining - v_claimed;
            -- About once per 1,000 tasks, and in 1% of small claims: that bounds the dead entries that a claim reads.
            if random() * 1000 < 10 + v_claimed then
                perform underway._advance_watermark(
                    v_name, v_queue.priorities[1 + trunc(random() * cardinality(v_queue.priorities))::integer]
                );
            end if;
            exit when v_claimed = cardinality(v_queue.tasks);
            -- Tasks were left out. Without the expired ones there may be others to claim.
            exit when v_try = 2 or underway._expire_front(v_name, v_queue.priorities, v_now, 1000) = 0;
        end loop;
        exit when v_lanes is null;
    end loop;
end;
$$;

comment on function underway.dequeue(text[], integer, bigint) is
    'Claim at most max_tasks ready tasks of the queues, under one lease. Never waits; returns at once when there are none.';
