-- _lock_limited: lock the tasks of a lane that the limits of its queue and of their keys allow to claim.
--
-- One claim at a time comes here for a queue: it has the queue's claim lock until its transaction ends, so it sees all
-- that runs. A task whose key is taken is parked, once; whoever frees the key notes that (_free_keys), and the next claim
-- takes what is parked before all that came later. While a key has room and a parked task, such a note is there. In a
-- fair queue all tasks are parked, and taken in the turn of their keys (_lock_parked).
--
-- Writes: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._lock_limited(
    lane underway.queue_priority,
    queue underway.queue,
    floor timestamptz,
    now timestamptz,
    max_tasks integer
)
returns tid[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_fair    boolean := (_lock_limited.queue).fair;
    v_room    integer := least(
        _lock_limited.max_tasks, underway._queue_room(_lock_limited.queue, _lock_limited.now)
    );
    -- The clock may have been put back behind the floor; limits that have to do with time go by the clock.
    v_until   timestamptz := greatest(_lock_limited.now, _lock_limited.floor);
    v_rows    tid[] := '{}';
    v_at      timestamptz := _lock_limited.floor;
    v_id      bigint := 0;
    v_page    integer;
    v_seen    underway.seen_task[];
    v_turn    tid[];
    v_blocked tid[];
    v_taken   underway.seen_task[];
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'UW001',
            message = format(
                'queue %L has limits, and this transaction is %s', (_lock_limited.queue).name,
                current_setting('transaction_isolation')
            ),
            hint = 'Claim from it in a transaction that is read committed: an old snapshot does not show what runs.';
    end if;

    if v_room <= 0 then
        return v_rows;
    end if;

    if not v_fair then
        v_rows := underway._lock_parked(_lock_limited.lane, _lock_limited.queue, _lock_limited.now, v_room);
    end if;

    -- At most so many pages: a claim does not take long over what it parks.
    for v_number in 1..10 loop
        exit when cardinality(v_rows) >= v_room;
        v_page := least(1000, greatest(100, 2 * (v_room - cardinality(v_rows))));

        v_seen := array(
            select row(ready.ctid, ready.concurrency_key, ready.ready_at, ready.id)::underway.seen_task
            from underway.task ready
            where ready.queue = (_lock_limited.lane).queue
              and ready.priority = (_lock_limited.lane).priority
              and (ready.ready_at, ready.id) >= (v_at, v_id)
              and ready.ready_at <= v_until
              and ready.state = 'pending'
              and not ready.parked
            order by ready.ready_at, ready.id
            limit v_page
        );
        exit when v_seen = '{}';

        with seen as (
            select s.*, row_number() over (partition by s.key order by s.ready_at, s.id) as turn
            from unnest(v_seen) s
        ),
        turns as (
            select k.key, underway._key_turns(_lock_limited.lane, _lock_limited.queue, k.key, _lock_limited.now) as tasks
            from (select distinct s.key from seen s where s.key is not null) k
        )
        select
            array_agg(s.place order by s.ready_at, s.id) filter (
                where not v_fair and (s.key is null or s.turn <= k.tasks)
            ),
            array_agg(s.place) filter (where v_fair or s.turn > k.tasks)
        into v_turn, v_blocked
        from seen s
        left join turns k on k.key = s.key;

        -- In the place of a row that was seen there may be another by now. A case, which no index takes for its own.
        v_turn := v_turn[1:v_room - cardinality(v_rows)];
        v_taken := array(
            select row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.seen_task
            from underway.task t
            where t.ctid = any (v_turn)
              and case
                  when t.state = 'pending' and not t.parked and t.ready_at <= v_until
                      then (t.queue, t.priority) = ((_lock_limited.lane).queue, (_lock_limited.lane).priority)
              end
            for no key update skip locked
        );
        perform underway._count_running(_lock_limited.queue, v_taken, _lock_limited.now);
        v_rows := v_rows || array(select t.place from unnest(v_taken) t);

        -- Only where nothing is left for the key: a task that had its turn may have been cancelled just now.
        if v_blocked is not null then
            perform underway._park(_lock_limited.lane, _lock_limited.queue, v_blocked, v_until, _lock_limited.now);
        end if;

        exit when cardinality(v_seen) < v_page;
        v_at := v_seen[v_page].ready_at;
        v_id := v_seen[v_page].id + 1;
    end loop;

    -- In turn, or in the order in which they became ready.
    if v_fair then
        v_rows := underway._lock_parked(_lock_limited.lane, _lock_limited.queue, _lock_limited.now, v_room);
    elsif v_rows <> '{}' then
        v_rows := underway._in_order(v_rows);
    end if;

    if (_lock_limited.queue).rate_limit is not null and v_rows <> '{}' then
        perform underway._take_tokens(_lock_limited.queue, _lock_limited.now, cardinality(v_rows));
    end if;

    return v_rows;
end;
$$;

comment on function underway._lock_limited(underway.queue_priority, underway.queue, timestamptz, timestamptz, integer) is
    'Lock at most so many tasks of a lane that the limits allow to claim; the caller has the claim lock of the queue. Parks'
    ' what waits for its key.';
