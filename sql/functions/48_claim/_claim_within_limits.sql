-- _claim_within_limits: lock the tasks of a queue and priority that its limits allow to start.
--
-- The caller holds the claim lock of the queue alone until its transaction ends, so it sees all that runs: no counter is
-- kept, running tasks are counted in an index. Ready tasks are read page by page. A task fits while its queue and its
-- concurrency key have capacity. A task that does not fit because its key is full, paused or out of tokens is parked, so
-- that no later claim reads it again; _release_slots says how it comes back.
--
-- In a fair queue a ready task stands for a turn of its key, and the turn goes to the oldest task of the key: the next task
-- of a key lines up at the back, so an older one may be behind a task that was enqueued since.
--
-- Writes: nothing.
-- Calls: _clock, _key_capacity, _oldest_of_keys, _park, _queue_capacity, _take_tokens, _wake_key_at_next_token, _wake_keys_with_tokens.
-- Raises: UW001 invalid_argument.

create or replace function underway._claim_within_limits(
    queue text,
    priority integer,
    watermark timestamptz,
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
    v_now        timestamptz := underway._clock();
    v_queue      underway.queue;
    v_capacity   integer;
    v_rows       tid[] := '{}';
    v_keys       text[] := '{}'; -- of the tasks that were taken
    v_parked     text[] := '{}'; -- the keys of the tasks that were parked
    v_at         timestamptz := _claim_within_limits.watermark;
    v_id         bigint := 0;
    v_page_size  integer;
    v_page       underway.claim_candidate[];
    v_fitting    underway.claim_candidate[];
    v_blocked    underway.claim_candidate[];
    v_taken      underway.claim_candidate[];
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

    -- A statement after the claim lock: it sees the limits as they are now.
    select q.* into v_queue from underway.queue q where q.name = _claim_within_limits.queue and q.paused_at is null;
    v_capacity := least(_claim_within_limits.max_tasks, underway._queue_capacity(v_queue, v_now));
    if v_capacity <= 0 or v_queue.name is null then
        return v_rows;
    end if;

    if v_queue.rate_limit_per_key is not null then
        perform underway._wake_keys_with_tokens(v_queue, v_now);
    end if;

    -- At most ten pages, so that a claim does not take long over what it parks.
    for v_number in 1..10 loop
        v_page_size := least(1000, greatest(100, 2 * (v_capacity - cardinality(v_rows))));
        v_page := array(
            select row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.claim_candidate
            from underway.task t
            where t.queue = _claim_within_limits.queue
              and t.priority = _claim_within_limits.priority
              and (t.ready_at, t.id) > (v_at, v_id)
              and t.ready_at <= v_now
              and t.state = 'pending'
              and not t.parked
            order by t.ready_at, t.id
            limit v_page_size
        );
        exit when v_page = '{}';

        with candidate as (
            select c.*, row_number() over (partition by c.key order by c.ready_at, c.id) as nth
            from unnest(v_page) c
        ),
        capacity as (
            select k.key, capacity.tasks
            from (
                select one.key, (select count(*) from unnest(v_keys) as taken (key) where taken.key = one.key) as taken
                from (select distinct c.key from candidate c where c.key is not null) one
            ) k
            cross join lateral underway._key_capacity(v_queue, k.key, k.taken, v_now) capacity (tasks)
        )
        select
            array_agg(row(c.ctid, c.key, c.ready_at, c.id)::underway.claim_candidate order by c.ready_at, c.id)
                filter (where c.key is null or c.nth <= k.tasks),
            array_agg(row(c.ctid, c.key, c.ready_at, c.id)::underway.claim_candidate)
                filter (where c.nth > k.tasks)
        into v_fitting, v_blocked
        from candidate c
        left join capacity k on k.key = c.key;

        v_fitting := v_fitting[1:v_capacity - cardinality(v_rows)];
        if v_queue.fair then
            v_fitting := underway._oldest_of_keys(v_queue.name, _claim_within_limits.priority, v_fitting, v_now);
        end if;

        -- The ctid may hold another row by now, or the row another key, so recheck it. CASE keeps the planner from using
        -- these as index conditions.
        v_taken := array(
            select row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.claim_candidate
            from unnest(v_fitting) with ordinality as c (ctid, key, ready_at, id, number)
            join underway.task t on t.ctid = c.ctid
            where case
                when t.state = 'pending' and t.id = c.id and t.ready_at <= v_now
                    then t.concurrency_key is not distinct from c.key
            end
            order by c.number
            for no key update of t skip locked
        );
        v_rows := v_rows || array(select t.ctid from unnest(v_taken) t);
        v_keys := v_keys || array(select t.key from unnest(v_taken) t);

        if v_blocked is not null then
            v_parked := v_parked || underway._park(v_queue, v_blocked, v_keys, v_now);
        end if;

        exit when cardinality(v_page) < v_page_size or cardinality(v_rows) >= v_capacity;
        v_at := v_page[v_page_size].ready_at;
        v_id := v_page[v_page_size].id;
    end loop;

    if v_queue.rate_limit is not null and v_rows <> '{}' then
        perform underway._take_tokens(v_queue, v_now, cardinality(v_rows));
    end if;
    if v_queue.rate_limit_per_key is not null then
        perform underway._take_tokens(v_queue, v_now, taken.tasks, taken.key)
        from (select k.key, count(*)::integer as tasks from unnest(v_keys) as k (key) where k.key is not null group by 1) taken;
        perform underway._wake_key_at_next_token(v_queue, v_parked, v_now);
    end if;

    return v_rows;
end;
$$;

comment on function underway._claim_within_limits(text, integer, timestamptz, integer) is
    'Lock at most so many ready tasks of a queue and priority that the limits allow to start; park those whose key is full.';
