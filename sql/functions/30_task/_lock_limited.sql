-- _lock_limited: lock the tasks of a lane that the limits of its queue and of their keys allow to claim.
--
-- One claim at a time comes here for a queue: it has the queue's claim lock until its transaction ends, so it sees all
-- that runs. A task whose key is taken is parked, once; whoever frees the key notes that (_free_keys), and the next claim
-- takes what is parked before all that came later. While a key has room and a parked task, such a note is there.
--
-- Writes: task, running, parked, freed_key.
-- Refuses: UW001 invalid_argument.

create or replace function underway._key_room(queue underway.queue, key text, now timestamptz)
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

    return greatest(0, least(
        (_key_room.queue).max_running_per_key - (
            select count(*)
            from (
                select
                from underway.running r
                where r.queue = (_key_room.queue).name
                  and r.concurrency_key = _key_room.key
                limit (_key_room.queue).max_running_per_key
            ) running
        ),
        case when (_key_room.queue).rate_limit_per_key is not null then
            floor(underway._tokens(_key_room.queue, _key_room.now, _key_room.key))
        end
    ));
end;
$$;

comment on function underway._key_room(underway.queue, text, timestamptz) is 'How many more tasks of a key may run now.';

create or replace function underway._note_tokens(queue underway.queue, keys text[], now timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    insert into underway.freed_key (queue, concurrency_key, look_at)
    select (_note_tokens.queue).name, given.key, token.at
    from unnest(_note_tokens.keys) as given (key)
    cross join lateral (select underway._token_at(_note_tokens.queue, _note_tokens.now, given.key) as at) token
    where token.at > _note_tokens.now
      and (
          select true
          from underway.freed_key f
          where f.queue = (_note_tokens.queue).name
            and f.look_at = token.at
            and f.concurrency_key = given.key
          limit 1
      ) is null;
end;
$$;

comment on function underway._note_tokens(underway.queue, text[], timestamptz) is
    'Note when to look again at what is parked for want of a token of its key.';

create or replace function underway._key_turns(
    lane underway.lane,
    queue underway.queue,
    key text,
    now timestamptz
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
        from underway.parked p
        where p.queue = (_key_turns.queue).name
          and p.concurrency_key = _key_turns.key
          and p.priority >= (_key_turns.lane).priority
    ) then
        return 0;
    end if;

    return underway._key_room(_key_turns.queue, _key_turns.key, _key_turns.now);
end;
$$;

comment on function underway._key_turns(underway.lane, underway.queue, text, timestamptz) is
    'How many more tasks of a key may run that are not parked: none while a parked one comes first.';

create or replace function underway._lock_parked(
    lane underway.lane,
    queue underway.queue,
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
    v_freed text[] := array(
        select distinct f.concurrency_key
        from underway.freed_key f
        where f.queue = (_lock_parked.queue).name
          and f.look_at <= _lock_parked.now
        limit 1000
    );
    v_heads bigint[];
    v_taken underway.seen_task[];
begin
    if v_freed = '{}' then
        return '{}';
    end if;

    v_heads := array(
        select head.task
        from unnest(v_freed) as freed (key)
        cross join lateral (
            select underway._key_room(_lock_parked.queue, freed.key, _lock_parked.now) as tasks
        ) room
        cross join lateral (
            select p.task, p.ready_at
            from underway.parked p
            where p.queue = (_lock_parked.queue).name
              and p.concurrency_key = freed.key
              and p.priority = (_lock_parked.lane).priority
            order by p.ready_at, p.task
            limit room.tasks
        ) head
        order by head.ready_at, head.task
        limit _lock_parked.max_tasks
    );

    v_taken := array(
        select row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.seen_task
        from underway.task t
        where t.id = any (v_heads)
          and t.parked
        for no key update skip locked
    );
    perform underway._count_running(_lock_parked.queue, v_taken, _lock_parked.now);

    -- The note stays while there is more to take for the key. One statement, so that no note is deleted that is newer than
    -- the look at the room; and no exists, for which a plan may read the whole table once.
    delete from underway.freed_key f
    where f.queue = (_lock_parked.queue).name
      and f.look_at <= _lock_parked.now
      and f.concurrency_key = any (v_freed)
      and (
          (
              select true
              from underway.parked p
              where p.queue = (_lock_parked.queue).name
                and p.concurrency_key = f.concurrency_key
              limit 1
          ) is null
          or underway._key_room(_lock_parked.queue, f.concurrency_key, _lock_parked.now) = 0
      );

    if (_lock_parked.queue).rate_limit_per_key is not null then
        perform underway._note_tokens(_lock_parked.queue, v_freed, _lock_parked.now);
    end if;

    return array(select t.place from unnest(v_taken) t);
end;
$$;

comment on function underway._lock_parked(underway.lane, underway.queue, timestamptz, integer) is
    'Lock parked tasks of a lane whose keys have become free, at most so many.';

create or replace function underway._count_running(
    queue underway.queue,
    tasks underway.seen_task[],
    now timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    insert into underway.running (queue, concurrency_key, task)
    select (_count_running.queue).name, coalesce(t.key, ''), t.id
    from unnest(_count_running.tasks) t;

    delete from underway.parked p where p.task = any (array(select t.id from unnest(_count_running.tasks) t));

    if (_count_running.queue).rate_limit_per_key is not null then
        perform underway._take_tokens(_count_running.queue, _count_running.now, taken.tasks::integer, taken.key)
        from (
            select t.key, count(*) as tasks
            from unnest(_count_running.tasks) t
            where t.key is not null
            group by t.key
        ) taken;
    end if;
end;
$$;

comment on function underway._count_running(underway.queue, underway.seen_task[], timestamptz) is
    'Count tasks that the caller has locked and claims as running, and no longer as parked.';

create or replace function underway._park(
    lane underway.lane,
    queue underway.queue,
    blocked tid[],
    now timestamptz
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
        where underway._key_turns(_park.lane, _park.queue, k.key, _park.now) = 0
    );
begin
    -- A case, which no index takes for its own.
    with parked as (
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
        ))
        returning t.queue, t.concurrency_key, t.priority, t.ready_at, t.id
    )
    insert into underway.parked (queue, concurrency_key, priority, ready_at, task)
    select p.queue, p.concurrency_key, p.priority, p.ready_at, p.id
    from parked p;

    if (_park.queue).rate_limit_per_key is not null then
        perform underway._note_tokens(_park.queue, v_full, _park.now);
    end if;
end;
$$;

comment on function underway._park(underway.lane, underway.queue, tid[], timestamptz) is
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

    v_rows := underway._lock_parked(_lock_limited.lane, _lock_limited.queue, _lock_limited.now, v_room);

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
            select k.key, underway._key_turns(_lock_limited.lane, _lock_limited.queue, k.key, _lock_limited.now) as tasks
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
                  when t.state = 'pending' and not t.parked and t.ready_at <= _lock_limited.now
                      then (t.queue, t.priority) = ((_lock_limited.lane).queue, (_lock_limited.lane).priority)
              end
            for no key update skip locked
        );
        perform underway._count_running(_lock_limited.queue, v_taken, _lock_limited.now);
        v_rows := v_rows || array(select t.place from unnest(v_taken) t);

        -- Only where nothing is left for the key: a task that had its turn may have been cancelled just now.
        if v_blocked is not null then
            perform underway._park(_lock_limited.lane, _lock_limited.queue, v_blocked, _lock_limited.now);
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
