-- _claim_in_turns: lock the ready tasks of a fair queue and a priority whose turn it is. The caller has the limit lock of the
-- queue.
--
-- Ready tasks are read page by page, and of each page the keys are served in turn (_take_turns). A task whose key is full,
-- paused or out of tokens is parked, so that no later claim reads it again. Tasks that have expired are cancelled: they take
-- no slot and no token.
--
-- Writes: nothing.
-- Calls: _expire, _key_capacity, _park, _start_of_line, _take_tokens, _take_turns, _wake_key_at_next_token.

create or replace function underway._claim_in_turns(
    queue underway.queue,
    priority integer,
    max_tasks integer,
    now timestamptz
)
returns underway.locked_tasks
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
    v_at        timestamptz := (
        select start.at
        from underway._start_of_line((_claim_in_turns.queue).name, _claim_in_turns.priority, _claim_in_turns.now) start (at)
    );
    v_id        bigint := 0;
    v_page_size integer;
    v_read      underway.claim_candidate[];
    v_expired   bigint[];
    v_page      underway.claim_candidate[];
    v_capacity  integer[];
    v_blocked   underway.claim_candidate[];
    v_locked    underway.claim_candidate[];
    v_taken     underway.claim_candidate[] := '{}';
    v_parked    text[] := '{}'; -- keys of which tasks may have been parked
begin
    -- At most ten pages, so that a claim does not take long over what it parks.
    for v_number in 1..10 loop
        v_page_size := least(1000, greatest(100, _claim_in_turns.max_tasks - cardinality(v_taken)));
        select
            array_agg(p.task order by p.number),
            array_agg(p.task order by p.number) filter (where p.expired is not true),
            array_agg((p.task).id) filter (where p.expired)
        into v_read, v_page, v_expired
        from (
            select
                row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.claim_candidate as task,
                t.expires_at <= _claim_in_turns.now as expired,
                row_number() over (order by t.ready_at, t.id) as number
            from underway.task t
            where t.queue = (_claim_in_turns.queue).name
              and t.priority = _claim_in_turns.priority
              and (t.ready_at, t.id) > (v_at, v_id)
              and t.ready_at <= _claim_in_turns.now
              and t.state = 'pending'
              and not t.parked
            order by t.ready_at, t.id
            limit v_page_size
        ) p;
        exit when v_read is null;
        if v_expired is not null then
            v_page := coalesce(v_page, '{}');
            perform underway._expire(v_expired, _claim_in_turns.now);
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
                from underway._key_capacity(_claim_in_turns.queue, c.key, c.taken, _claim_in_turns.now) k (tasks)
                where c.nth = 1
                  and c.key is not null
            ) capacity on true
            order by c.number
        );

        v_locked := underway._take_turns(
            _claim_in_turns.queue, _claim_in_turns.priority, v_page, v_capacity, v_taken,
            _claim_in_turns.max_tasks - cardinality(v_taken), _claim_in_turns.now
        );
        -- The next task of a key that was served may be parked for lack of a token.
        v_parked := v_parked || array(select l.key from unnest(v_locked) l where l.key is not null);
        v_blocked := array(
            select row(c.ctid, c.key, c.ready_at, c.id)::underway.claim_candidate
            from unnest(v_page, v_capacity) as c (ctid, key, ready_at, id, capacity)
            where c.capacity <= 0
        );
        v_taken := v_taken || v_locked;

        if v_blocked <> '{}' then
            v_parked := v_parked || underway._park(
                _claim_in_turns.queue, v_blocked, array(select t.key from unnest(v_taken) t), _claim_in_turns.now
            );
        end if;

        exit when cardinality(v_read) < v_page_size or cardinality(v_taken) >= _claim_in_turns.max_tasks;
        v_at := v_read[v_page_size].ready_at;
        v_id := v_read[v_page_size].id;
    end loop;

    if (_claim_in_turns.queue).rate_limit is not null and v_taken <> '{}' then
        perform underway._take_tokens(_claim_in_turns.queue, _claim_in_turns.now, cardinality(v_taken));
    end if;
    if (_claim_in_turns.queue).rate_limit_per_key is not null then
        perform underway._take_tokens(_claim_in_turns.queue, _claim_in_turns.now, taken.tasks, taken.key)
        from (select t.key, count(*)::integer as tasks from unnest(v_taken) t where t.key is not null group by t.key) taken;
        perform underway._wake_key_at_next_token(_claim_in_turns.queue, v_parked, _claim_in_turns.now);
    end if;

    return row(
        array(select t.ctid from unnest(v_taken) with ordinality as t (ctid, key, ready_at, id, number) order by t.number),
        array_fill(_claim_in_turns.priority, array[cardinality(v_taken)])
    );
end;
$$;

comment on function underway._claim_in_turns(underway.queue, integer, integer, timestamptz) is
    'Lock at most so many ready tasks of a fair queue and a priority, in the turn of their keys; park those whose key is full.';
