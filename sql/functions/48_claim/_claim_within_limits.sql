-- _claim_within_limits: lock the tasks of a queue and priority that its limits allow to start.
--
-- The caller shares the claim lock of the queue. This takes the limit lock, or nothing if another claim has it, until the
-- transaction ends, so it sees all that runs: no counter is kept, running tasks are counted in an index. Ready tasks are read page by page. A task fits while its queue and its
-- concurrency key have capacity. One that does not fit because its key is full, paused or out of tokens is parked, so that
-- no later claim reads it again; 32_limit/_release_slots.sql says how it comes back. In a fair queue keys take turns. Tasks
-- that have expired are cancelled: they take no slot and no token.
--
-- Writes: nothing.
-- Calls: _clock, _expire, _key_capacity, _limit_lock, _lock_candidates, _park, _queue_capacity, _start_of_line, _take_tokens, _take_turns, _wake_key_at_next_token, _wake_keys_with_tokens.
-- Raises: UW001 invalid_argument.

create or replace function underway._claim_within_limits(
    queue text,
    priority integer,
    max_tasks integer
)
returns tid[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now       timestamptz := underway._clock();
    v_queue     underway.queue;
    v_max_tasks integer;
    v_at        timestamptz;
    v_id        bigint := 0;
    v_page_size integer;
    v_read      underway.claim_candidate[];
    v_expired   bigint[];
    v_page      underway.claim_candidate[];
    v_capacity  integer[];
    v_fitting   underway.claim_candidate[];
    v_blocked   underway.claim_candidate[];
    v_locked    underway.claim_candidate[];
    v_taken     underway.claim_candidate[] := '{}';
    v_parked    text[] := '{}'; -- keys of which tasks were parked
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'UW001',
            message = format(
                'queue %L has limits, and this transaction is %s', _claim_within_limits.queue,
                current_setting('transaction_isolation')
            ),
            hint = 'Claim from it in a read committed transaction: an older snapshot does not show what runs.';
    end if;

    if not pg_try_advisory_xact_lock(underway._limit_lock(_claim_within_limits.queue)) then
        return '{}';
    end if;

    select q.* into v_queue from underway.queue q where q.name = _claim_within_limits.queue and q.paused_at is null;
    v_at := (
        select start.at
        from underway._start_of_line(_claim_within_limits.queue, _claim_within_limits.priority, v_now) start (at)
    );
    v_max_tasks := least(_claim_within_limits.max_tasks, underway._queue_capacity(v_queue, v_now));
    if v_max_tasks <= 0 or v_queue.name is null then
        return '{}';
    end if;

    if v_queue.rate_limit_per_key is not null then
        perform underway._wake_keys_with_tokens(v_queue, v_now);
    end if;

    -- At most ten pages, so that a claim does not take long over what it parks.
    for v_number in 1..10 loop
        v_page_size := least(1000, greatest(100, v_max_tasks - cardinality(v_taken)));
        select
            array_agg(p.task order by p.number),
            array_agg(p.task order by p.number) filter (where p.expired is not true),
            array_agg((p.task).id) filter (where p.expired)
        into v_read, v_page, v_expired
        from (
            select
                row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.claim_candidate as task,
                t.expires_at <= v_now as expired,
                row_number() over (order by t.ready_at, t.id) as number
            from underway.task t
            where t.queue = _claim_within_limits.queue
              and t.priority = _claim_within_limits.priority
              and (t.ready_at, t.id) > (v_at, v_id)
              and t.ready_at <= v_now
              and t.state = 'pending'
              and not t.parked
            order by t.ready_at, t.id
            limit v_page_size
        ) p;
        exit when v_read is null;
        if v_expired is not null then
            v_page := coalesce(v_page, '{}');
            perform underway._expire(v_expired, v_now);
        end if;

        -- Of each task the capacity of its key, which is read once for a key. Null without a key.
        v_capacity := array(
            select max(capacity.tasks) over (partition by c.key)
            from (
                select
                    t.key, t.number, row_number() over (partition by t.key order by t.number) as nth,
                    (select count(*) from unnest(v_taken) taken where taken.key = t.key) as taken
                from unnest(v_page) with ordinality as t (ctid, key, ready_at, id, number)
            ) c
            left join lateral (
                select k.tasks
                from underway._key_capacity(v_queue, c.key, c.taken, v_now) k (tasks)
                where c.nth = 1
                  and c.key is not null
            ) capacity on true
            order by c.number
        );

        if v_queue.fair then
            v_locked := underway._take_turns(
                v_queue, _claim_within_limits.priority, v_page, v_capacity, v_taken, v_max_tasks - cardinality(v_taken),
                v_now
            );
            -- The next task of a key that was served may be parked for lack of a token.
            v_parked := v_parked || array(select l.key from unnest(v_locked) l where l.key is not null);
            v_blocked := array(
                select row(c.ctid, c.key, c.ready_at, c.id)::underway.claim_candidate
                from unnest(v_page, v_capacity) as c (ctid, key, ready_at, id, capacity)
                where c.capacity <= 0
            );
        else
            select
                array_agg(row(c.ctid, c.key, c.ready_at, c.id)::underway.claim_candidate order by c.number)
                    filter (where c.key is null or c.nth <= c.capacity),
                array_agg(row(c.ctid, c.key, c.ready_at, c.id)::underway.claim_candidate)
                    filter (where c.nth > c.capacity)
            into v_fitting, v_blocked
            from (
                select t.*, row_number() over (partition by t.key order by t.number) as nth
                from unnest(v_page, v_capacity) with ordinality as t (ctid, key, ready_at, id, capacity, number)
            ) c;

            v_locked := underway._lock_candidates(v_fitting, v_max_tasks - cardinality(v_taken), v_now);
        end if;
        v_taken := v_taken || v_locked;

        if v_blocked <> '{}' then
            v_parked := v_parked || underway._park(v_queue, v_blocked, v_taken, v_now);
        end if;

        exit when cardinality(v_read) < v_page_size or cardinality(v_taken) >= v_max_tasks;
        v_at := v_read[v_page_size].ready_at;
        v_id := v_read[v_page_size].id;
    end loop;

    if v_queue.rate_limit is not null and v_taken <> '{}' then
        perform underway._take_tokens(v_queue, v_now, cardinality(v_taken));
    end if;
    if v_queue.rate_limit_per_key is not null then
        perform underway._take_tokens(v_queue, v_now, taken.tasks, taken.key)
        from (select t.key, count(*)::integer as tasks from unnest(v_taken) t where t.key is not null group by t.key) taken;
        perform underway._wake_key_at_next_token(v_queue, v_parked, v_now);
    end if;

    return array(select t.ctid from unnest(v_taken) with ordinality as t (ctid, key, ready_at, id, number) order by t.number);
end;
$$;

comment on function underway._claim_within_limits(text, integer, integer) is
    'Lock at most so many ready tasks of a queue and priority that the limits allow to start; park those whose key is full.';
