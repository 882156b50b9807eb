-- dequeue: claim ready tasks of some queues: the highest priority first, then the longest ready.
--
--   pending -> in_progress
--
-- Writes: task.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.dequeue(queues text[], max_tasks integer default 1, worker bigint default null)
returns setof underway.claimed_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
-- A plan is kept for the session: none made for an empty table may read a full one from end to end. Rows are joined in
-- the order in which they were locked.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_now       timestamptz := underway._clock();
    v_lease     uuid := gen_random_uuid();
    v_remaining      integer := dequeue.max_tasks;
    v_lane      record;
    v_stretch   tid[];
    v_rows      tid[];
    v_claimed   integer;
    v_leased_at timestamptz;
begin
    if (dequeue.max_tasks between 0 and 10000) is not true then
        perform underway._check_claim(dequeue.queues, dequeue.max_tasks);
    end if;

    -- Among queues of one priority chance decides which is served first, so that none starves. Of many queues those
    -- that have something are found first, in one statement.
    for v_lane in
        select l.queue, l.priority, l.front, q.timeout, q.heartbeat, f.ready_at as floor,
            greatest(v_now, f.ready_at) as now, x.limited,
            (
                select leases.ready_at
                from underway.watermark leases
                where leases.queue = ''
                order by leases.noted_by desc
                limit 1
            ) as leased_at
        from underway.queue_priority l
        join underway.queue q on q.name = l.queue
        cross join lateral (
            select passed.ready_at
            from underway.watermark passed
            where passed.queue = l.queue
              and passed.priority = l.priority
            order by passed.noted_by desc
            limit 1
        ) f
        cross join lateral (
            select q.max_running is not null or q.rate_limit is not null or q.fair or exists (
                select from underway.keyed_queue k where k.queue = l.queue
            ) as limited
        ) x
        where l.queue = any (dequeue.queues)
          and q.paused_at is null
          -- Not exists, for which a plan may read the whole table once.
          and (cardinality(dequeue.queues) = 1 or x.limited or (
              select true
              from underway.task ready
              where ready.queue = l.queue
                and ready.priority = l.priority
                and ready.ready_at >= f.ready_at
                and ready.ready_at <= greatest(v_now, f.ready_at)
                and ready.state = 'pending'
                and not ready.parked
              limit 1
          ))
        order by l.priority desc, random()
    loop
        exit when v_remaining = 0;

        -- Claims from a queue without limits share its claim lock; one from a queue with limits has it alone.
        if v_lane.limited then
            continue when not pg_try_advisory_xact_lock(hashtext('underway.claim'), hashtext(v_lane.queue));
            v_rows := underway._lock_limited(
                row(v_lane.queue, v_lane.priority, v_lane.front),
                (select q from underway.queue q where q.name = v_lane.queue),
                v_lane.floor, v_now, v_remaining
            );
        else
            continue when not pg_try_advisory_xact_lock_shared(hashtext('underway.claim'), hashtext(v_lane.queue));
            -- An old snapshot does not show a limit; locked, the queue is as it was then, or the claim is refused.
            if current_setting('transaction_isolation') <> 'read committed' then
                perform from underway.queue q where q.name = v_lane.queue for share skip locked;
                continue when not found;
            end if;

            -- Two may be at the head of a lane at once; for more it is faster to go to stretches of their own. One in a
            -- hundred of those goes to the head all the same, for the two may be there for long.
            if pg_try_advisory_xact_lock(hashtext('underway.queue_priority 1'), hashtext(v_lane.queue) # v_lane.priority)
               or pg_try_advisory_xact_lock(hashtext('underway.queue_priority 2'), hashtext(v_lane.queue) # v_lane.priority)
               or random() < 0.01 then
                v_stretch := '{}';
            else
                v_stretch := underway._lock_stretch(
                    row(v_lane.queue, v_lane.priority, v_lane.front), v_lane.floor, v_lane.now, v_remaining
                );
            end if;

            -- What has a concurrency key came after the look at the limits.
            v_rows := array(
                select ready.ctid
                from underway.task ready
                where ready.queue = v_lane.queue
                  and ready.priority = v_lane.priority
                  and ready.ready_at >= v_lane.floor
                  and ready.ready_at <= v_lane.now
                  and ready.state = 'pending'
                  and not ready.parked
                  and ready.concurrency_key is null
                  and ready.ctid <> all (v_stretch)
                order by ready.ready_at, ready.id
                limit v_remaining - cardinality(v_stretch)
                for no key update skip locked
            );
            if v_stretch <> '{}' then
                v_rows := underway._in_order(v_stretch || v_rows);
            end if;
        end if;
        v_claimed := cardinality(v_rows);

        if v_claimed > 0 then
            v_now := underway._clock_after_xid();
            -- Not below the floor of the leases, where reclaim does not look: the clock may have been put back.
            v_leased_at := greatest(v_now, v_lane.leased_at);

            -- Row by row in the order of the array, and straight to the caller: what is claimed is not sorted again.
            return query
            update underway.task t
            set
                state = 'in_progress',
                parked = false,
                limited = v_lane.limited,
                attempt = t.attempt + 1,
                unique_key = case when t.unique_until_start is null then t.unique_key end,
                started_at = v_now,
                lease = v_lease,
                lease_expires_at = v_leased_at + coalesce(t.heartbeat, v_lane.heartbeat),
                worker = dequeue.worker
            from unnest(v_rows) as locked (place)
            where t.ctid = locked.place
              -- A limit may have come between the look at the lanes and the claim lock.
              and (v_lane.limited or (
                  select q.max_running is null and q.rate_limit is null and not q.fair
                  from underway.queue q
                  where q.name = v_lane.queue
              ))
            returning
                t.id, t.queue, t.job, t.input, t.attempt, t.lease,
                coalesce(t.timeout, v_lane.timeout), coalesce(t.heartbeat, v_lane.heartbeat),
                t.headers, t.priority, t.enqueued_at, t.dead_letter;

            v_remaining := v_remaining - v_claimed;

            -- About once for every thousand tasks, and in every hundredth claim of few: what that costs is little
            -- beside them, and so is what claims pass over until then. Of the leases for every ten thousand.
            if random() < 0.01 + v_claimed / 1000.0 then
                perform underway._advance_queue_watermark(v_lane.queue, v_lane.priority);
                if random() < 0.1 then
                    perform underway._advance_lease_watermark();
                end if;
            end if;
        end if;
    end loop;

    -- A single queue that had a lane is there. Of others one cheap look; what is wrong is found out where something is.
    if not found or (cardinality(dequeue.queues) = 1) is not true then
        if (
            (select count(*) from underway.queue q where q.name = any (dequeue.queues)) = cardinality(dequeue.queues)
        ) is not true then
            perform underway._check_claim(dequeue.queues, dequeue.max_tasks);
        end if;
    end if;
end;
$$;

comment on function underway.dequeue(text[], integer, bigint) is
    'Claim at most max_tasks ready tasks of the queues, under one lease. Never waits, and returns at once when there are'
    ' none.';

create or replace function underway.dequeue(queue text, max_tasks integer default 1, worker bigint default null)
returns setof underway.claimed_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
    return query select * from underway.dequeue(array[dequeue.queue], dequeue.max_tasks, dequeue.worker);
end;
$$;

comment on function underway.dequeue(text, integer, bigint) is 'Claim at most max_tasks ready tasks of a queue.';
