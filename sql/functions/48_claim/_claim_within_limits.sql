-- _claim_within_limits: lock the ready tasks of a queue that its limits allow to start, of one priority or of all.
--
-- The caller shares the claim lock of the queue. This takes the limit lock until the transaction ends (_claim_capacity); if
-- another claim holds it, this returns null. Ready tasks are locked in their order, in at most ten pages of at most 1,000.
-- Where they have concurrency keys, each key of a page is looked up once: how many of its tasks run, and so how many may
-- start. Tasks that do not fit are skipped, and so are later tasks of the same key: they must not start first. The first page
-- has as many tasks as may start, so a claim that meets no full key reads nothing else; each of the others has as many more as
-- were skipped. In a fair queue keys take turns (_claim_in_turns). Tasks that have expired are cancelled: they
-- take no slot and no token.
--
-- A task that does not fit stays ready while claims are filled without it: it costs each claim a row lock and a look-up, and
-- parking it and making it ready again costs two new versions of its row. It is parked when a claim finds too few tasks, since
-- its worker would try again and again, or when it has skipped more than half as many tasks as it may take.
-- 32_limit/_release_slots.sql says how a parked task comes back.
--
-- Writes: nothing.
-- Calls: _claim_capacity, _claim_in_turns, _clock, _expire, _key_capacity, _park, _starts_of_lanes, _take_tokens,
--   _unpark_keys_with_tokens, _wake_key_at_next_token.
-- Raises: UW001 invalid_argument.

create or replace function underway._claim_within_limits(queue text, priority integer, max_tasks integer)
returns underway.locked_tasks
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now        timestamptz := underway._clock();
    v_max_tasks  integer := underway._claim_capacity(
        _claim_within_limits.queue, _claim_within_limits.max_tasks, v_now
    );
    v_queue      underway.queue;
    v_page_size  integer;
    v_page       record;
    v_was_last   boolean;
    v_priority   integer; -- where the next page begins
    v_at         timestamptz;
    v_id         bigint;
    v_expired    integer := 0;
    v_skipped    text[]; -- the keys of tasks that were skipped in earlier pages
    v_full       jsonb; -- the keys that have more tasks in the page than may start, with the number of these
    v_blocked    underway.claim_candidate[] := '{}';
    v_keys       text[] := '{}'; -- of the tasks that are taken
    v_taken      underway.locked_tasks := row('{}', '{}');
begin
    if (v_max_tasks > 0) is not true then
        return null;
    end if;

    select q.* into v_queue from underway.queue q where q.name = _claim_within_limits.queue;
    if v_queue.rate_limit_per_key is not null then
        perform underway._unpark_keys_with_tokens(v_queue, v_now);
    end if;
    if v_queue.fair then
        return underway._claim_in_turns(v_queue, _claim_within_limits.priority, v_max_tasks, v_now);
    end if;

    -- At most ten pages, and not many expired tasks, so that a claim does not take long over tasks that may not start.
    for v_number in 1..10 loop
        v_page_size := least(1000, v_max_tasks - cardinality(v_keys) + cardinality(v_blocked) + v_expired);
        select
            array_agg(p.ctid) as tasks, array_agg(p.priority) as priorities, array_agg(p.concurrency_key) as keys,
            array_agg(p.id) as ids, array_agg(p.ready_at) as ready_at,
            array_agg(p.id) filter (where p.expires_at <= v_now) as expired
        into v_page
        from (
            select t.*
            from underway._starts_of_lanes(_claim_within_limits.queue, v_now) lane
            cross join lateral (
                select one.ctid, one.priority, one.concurrency_key, one.id, one.ready_at, one.expires_at
                from underway.task one
                where one.queue = _claim_within_limits.queue
                  and one.priority = lane.priority
                  and (one.ready_at, one.id) > (
                      case when lane.priority = v_priority then v_at else lane.starts_at end,
                      case when lane.priority = v_priority then v_id else 0 end
                  )
                  and one.ready_at <= v_now
                  and one.state = 'pending'
                  and not one.parked
                order by one.ready_at, one.id
                limit v_page_size
                for no key update skip locked
            ) t
            where lane.priority = _claim_within_limits.priority
               or (_claim_within_limits.priority is null and (lane.priority > v_priority) is not true)
            limit v_page_size
        ) p;
        exit when v_page.tasks is null;
        v_was_last := cardinality(v_page.tasks) < v_page_size;
        v_priority := v_page.priorities[cardinality(v_page.tasks)];
        v_at := v_page.ready_at[cardinality(v_page.tasks)];
        v_id := v_page.ids[cardinality(v_page.tasks)];
        if v_page.expired is not null then
            v_expired := v_expired + cardinality(v_page.expired);
            perform underway._expire(v_page.expired, v_now);
            select array_agg(c.ctid), array_agg(c.priority), array_agg(c.key), array_agg(c.id)
            into v_page.tasks, v_page.priorities, v_page.keys, v_page.ids
            from unnest(v_page.tasks, v_page.priorities, v_page.keys, v_page.ids) as c (ctid, priority, key, id)
            where c.id <> all (v_page.expired);
        end if;

        if array_remove(v_page.keys, null) <> '{}' then
            v_skipped := array(select distinct b.key from unnest(v_blocked) b);
            select jsonb_object_agg(k.key, case when k.key = any (v_skipped) then 0 else greatest(0, capacity.tasks) end)
            into v_full
            from (
                select
                    c.key,
                    count(*) filter (where c.number > cardinality(v_keys)) as tasks,
                    count(*) filter (where c.number <= cardinality(v_keys)) as taken
                from unnest(v_keys || v_page.keys) with ordinality as c (key, number)
                where c.key is not null
                group by c.key
            ) k
            cross join lateral underway._key_capacity(v_queue, k.key, k.taken, v_now) capacity (tasks)
            where k.tasks > 0
              and (k.tasks > capacity.tasks or k.key = any (v_skipped));

            if v_full is not null then
                select
                    array_agg(c.ctid order by c.number) filter (where c.fits),
                    array_agg(c.priority order by c.number) filter (where c.fits),
                    array_agg(c.key order by c.number) filter (where c.fits),
                    v_blocked || array_agg(row(c.ctid, c.key, null, c.id)::underway.claim_candidate) filter (where not c.fits)
                into v_page.tasks, v_page.priorities, v_page.keys, v_blocked
                from (
                    select
                        t.*,
                        (
                            row_number() over (partition by t.key order by t.number) > (v_full ->> t.key)::integer
                        ) is not true as fits
                    from unnest(v_page.tasks, v_page.priorities, v_page.keys, v_page.ids) with ordinality
                        as t (ctid, priority, key, id, number)
                ) c;
            end if;
        end if;

        v_page_size := v_max_tasks - cardinality(v_keys);
        v_taken.tasks := v_taken.tasks || v_page.tasks[:v_page_size];
        v_taken.priorities := v_taken.priorities || v_page.priorities[:v_page_size];
        v_keys := v_keys || v_page.keys[:v_page_size];
        exit when v_was_last or cardinality(v_keys) = v_max_tasks or v_expired >= 500;
    end loop;

    if v_blocked <> '{}' and (cardinality(v_keys) < v_max_tasks or cardinality(v_blocked) > v_max_tasks / 2) then
        perform underway._park(v_queue, v_blocked, v_keys, v_now);
    end if;
    if v_queue.rate_limit is not null and v_keys <> '{}' then
        perform underway._take_tokens(v_queue, v_now, cardinality(v_keys));
    end if;
    if v_queue.rate_limit_per_key is not null then
        perform underway._take_tokens(v_queue, v_now, taken.tasks, taken.key)
        from (
            select t.key, count(*)::integer as tasks from unnest(v_keys) as t (key) where t.key is not null group by t.key
        ) taken;
        perform underway._wake_key_at_next_token(v_queue, v_keys || array(select b.key from unnest(v_blocked) b), v_now);
    end if;

    return v_taken;
end;
$$;

comment on function underway._claim_within_limits(text, integer, integer) is
    'Lock at most so many ready tasks of a queue, of one priority or of all, that the limits allow to start.';
