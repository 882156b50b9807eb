-- _lock_limited: lock the tasks of a lane that the limits of its queue and of their keys allow to claim.
--
-- One claim at a time comes here for a queue: it has the queue's claim lock until its transaction ends, so it sees all
-- that runs. A task whose key is taken is parked, once; whoever frees the key notes that (_free_keys), and the next claim
-- takes what is parked before all that came later. While a key has room and a parked task, such a note is there.
--
-- Writes: task, freed_key.
-- Refuses: UW001 invalid_argument.

create or replace function underway._key_room(queue underway.queue, key text, taken text[])
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    if exists (
        select
        from underway.paused_key p
        where p.queue = (_key_room.queue).name
          and p.concurrency_key = _key_room.key
    ) then
        return 0;
    end if;

    return greatest(0, (_key_room.queue).max_running_per_key - (
        select count(*)
        from (
            select
            from underway.task t
            where t.queue = (_key_room.queue).name
              and t.concurrency_key = _key_room.key
              and t.state = 'in_progress'
              and t.limited
            limit (_key_room.queue).max_running_per_key
        ) running
    ) - cardinality(array_positions(_key_room.taken, _key_room.key)));
end;
$$;

comment on function underway._key_room(underway.queue, text, text[]) is
    'How many more tasks of a key may run, beside those that run and those that are being taken.';

create or replace function underway._key_turns(
    lane underway.lane,
    queue underway.queue,
    key text,
    rows tid[],
    taken text[]
)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    if exists (
        select
        from underway.task p
        where p.queue = (_key_turns.queue).name
          and p.concurrency_key = _key_turns.key
          and p.priority >= (_key_turns.lane).priority
          and p.parked
          and p.ctid <> all (_key_turns.rows)
    ) then
        return 0;
    end if;

    return underway._key_room(_key_turns.queue, _key_turns.key, _key_turns.taken);
end;
$$;

comment on function underway._key_turns(underway.lane, underway.queue, text, tid[], text[]) is
    'How many more tasks of a key may run that are not parked: none while a parked one comes first.';

create or replace function underway._lock_parked(
    lane underway.lane,
    queue underway.queue,
    max_tasks integer,
    out rows tid[],
    out keys text[]
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_freed text[] := array(
        select distinct f.concurrency_key
        from underway.freed_key f
        where f.queue = (_lock_parked.queue).name
        limit 1000
    );
    v_heads tid[];
begin
    _lock_parked.rows := '{}';
    _lock_parked.keys := '{}';
    if v_freed = '{}' then
        return;
    end if;

    v_heads := array(
        select head.ctid
        from unnest(v_freed) as freed (key)
        cross join lateral (select underway._key_room(_lock_parked.queue, freed.key, '{}') as tasks) room
        cross join lateral (
            select p.ctid, p.ready_at, p.id
            from underway.task p
            where p.queue = (_lock_parked.queue).name
              and p.concurrency_key = freed.key
              and p.priority = (_lock_parked.lane).priority
              and p.parked
            order by p.ready_at, p.id
            limit room.tasks
        ) head
        order by head.ready_at, head.id
        limit _lock_parked.max_tasks
    );

    select coalesce(array_agg(locked.ctid), '{}'), coalesce(array_agg(locked.concurrency_key), '{}')
    into _lock_parked.rows, _lock_parked.keys
    from (
        -- A case, which no index takes for its own.
        select t.ctid, t.concurrency_key
        from underway.task t
        where t.ctid = any (v_heads)
          and case when t.parked then t.queue = (_lock_parked.queue).name end
        for no key update skip locked
    ) locked;

    -- The note stays while there is more to take for the key. One statement, so that no note is deleted that is newer than
    -- the look at the room; and no exists, for which a plan may read the whole table once.
    delete from underway.freed_key f
    where f.queue = (_lock_parked.queue).name
      and f.concurrency_key = any (v_freed)
      and (
          (
              select true
              from underway.task p
              where p.queue = (_lock_parked.queue).name
                and p.concurrency_key = f.concurrency_key
                and p.parked
                and p.ctid <> all (_lock_parked.rows)
              limit 1
          ) is null
          or underway._key_room(_lock_parked.queue, f.concurrency_key, _lock_parked.keys) = 0
      );
end;
$$;

comment on function underway._lock_parked(underway.lane, underway.queue, integer) is
    'Lock parked tasks of a lane whose keys have become free, at most so many, with their keys.';

create or replace function underway._park(
    lane underway.lane,
    queue underway.queue,
    blocked tid[],
    rows tid[],
    taken text[]
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_full text[] := array(
        select k.key
        from (select distinct t.concurrency_key as key from underway.task t where t.ctid = any (_park.blocked)) k
        where underway._key_turns(_park.lane, _park.queue, k.key, _park.rows, _park.taken) = 0
    );
begin
    update underway.task t
    set parked = true
    where t.ctid = any (array(
        select seen.ctid
        from underway.task seen
        where seen.ctid = any (_park.blocked)
          and case
              when seen.state = 'pending' and not seen.parked
                  then seen.queue = (_park.queue).name and seen.concurrency_key = any (v_full)
          end
        for no key update skip locked
    ));
end;
$$;

comment on function underway._park(underway.lane, underway.queue, tid[], tid[], text[]) is
    'Park those of these rows whose key has no turn left.';

create or replace function underway._lock_limited(
    lane underway.lane,
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
as $$
declare
    v_room    integer := least(
        _lock_limited.max_tasks, underway._queue_room(_lock_limited.queue, _lock_limited.now)
    );
    v_rows    tid[] := '{}';
    v_keys    text[] := '{}'; -- of each row
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

    select locked.rows, locked.keys
    into v_rows, v_keys
    from underway._lock_parked(_lock_limited.lane, _lock_limited.queue, v_room) locked;

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
              and ready.ready_at <= _lock_limited.now
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
            select k.key, underway._key_turns(_lock_limited.lane, _lock_limited.queue, k.key, v_rows, v_keys) as tasks
            from (select distinct s.key from seen s where s.key is not null) k
        )
        select
            array_agg(s.place order by s.ready_at, s.id) filter (where s.key is null or s.turn <= k.tasks),
            array_agg(s.place) filter (where s.turn > k.tasks)
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
                  when t.state = 'pending' and not t.parked
                      then (t.queue, t.priority) = ((_lock_limited.lane).queue, (_lock_limited.lane).priority)
              end
            for no key update skip locked
        );
        v_rows := v_rows || array(select t.place from unnest(v_taken) t);
        v_keys := v_keys || array(select t.key from unnest(v_taken) t);

        -- Only where nothing is left for the key: a task that had its turn may have been cancelled just now.
        if v_blocked is not null then
            perform underway._park(_lock_limited.lane, _lock_limited.queue, v_blocked, v_rows, v_keys);
        end if;

        exit when cardinality(v_seen) < v_page;
        v_at := v_seen[v_page].ready_at;
        v_id := v_seen[v_page].id + 1;
    end loop;

    if (_lock_limited.queue).rate_limit is not null and v_rows <> '{}' then
        perform underway._take_tokens(_lock_limited.queue, _lock_limited.now, cardinality(v_rows));
    end if;

    return v_rows;
end;
$$;

comment on function underway._lock_limited(underway.lane, underway.queue, timestamptz, timestamptz, integer) is
    'Lock at most so many tasks of a lane that the limits allow to claim; the caller has the claim lock of the queue. Parks'
    ' what waits for its key.';
