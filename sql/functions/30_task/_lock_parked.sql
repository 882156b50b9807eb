-- _lock_parked: lock parked tasks of a lane whose keys have become free.
--
-- The keys that are noted as free stand in a line. In a fair queue a key that was served goes to its end, and each key
-- gives one task after the other in turn; elsewhere the tasks of all of them come in their own order.
--
-- Writes: freed_key.

create or replace function underway._free_in_line(queue text, now timestamptz)
returns text[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    -- What had to wait for a token joins the line.
    update underway.freed_key f
    set look_at = '-infinity', place = default
    where f.ctid = any (array(
        select due.ctid
        from underway.freed_key due
        where due.queue = _free_in_line.queue
          and due.look_at > '-infinity'
          and due.look_at <= _free_in_line.now
        order by due.look_at
        limit 1000
        for no key update
    ));

    return array(
        select first.concurrency_key
        from (
            select f.concurrency_key, f.place
            from underway.freed_key f
            where f.queue = _free_in_line.queue
              and f.look_at = '-infinity'
            order by f.place
            limit 1000
        ) first
        group by first.concurrency_key
        order by min(first.place)
    );
end;
$$;

comment on function underway._free_in_line(text, timestamptz) is
    'The keys of a queue that are noted as free, in the order of their line; at most a thousand.';

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
    v_freed text[] := underway._free_in_line((_lock_parked.queue).name, _lock_parked.now);
    v_fair  boolean := (_lock_parked.queue).fair;
    v_heads bigint[];
    v_taken underway.seen_task[];
begin
    if v_freed = '{}' then
        return '{}';
    end if;

    -- Of each key as many as it may run; in a fair queue no more than about its share.
    v_heads := array(
        select head.task
        from unnest(v_freed) with ordinality as freed (key, place)
        cross join lateral (
            select least(
                underway._key_room(_lock_parked.queue, freed.key, _lock_parked.now),
                case when v_fair then 2 * _lock_parked.max_tasks / cardinality(v_freed) + 1 end
            ) as tasks
        ) room
        cross join lateral (
            select p.task, p.ready_at, row_number() over (order by p.ready_at, p.task) as turn
            from underway.parked p
            where p.queue = (_lock_parked.queue).name
              and p.concurrency_key = freed.key
              and p.priority = (_lock_parked.lane).priority
            order by p.ready_at, p.task
            limit room.tasks
        ) head
        order by case when v_fair then head.turn end, case when v_fair then freed.place end, head.ready_at, head.task
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

    if v_fair then
        update underway.freed_key f
        set place = default
        where f.queue = (_lock_parked.queue).name
          and f.look_at = '-infinity'
          and f.concurrency_key = any (array(select coalesce(t.key, '') from unnest(v_taken) t));
    end if;

    -- The note stays while there is more to take for the key, or somebody relies on it who is just enqueueing. One
    -- statement, so that no note is deleted that is newer than the look at the room; and no exists, for which a plan may
    -- read the whole table once.
    delete from underway.freed_key f
    where f.ctid = any (array(
        select done.ctid
        from underway.freed_key done
        where done.queue = (_lock_parked.queue).name
          and done.look_at = '-infinity'
          and done.concurrency_key = any (v_freed)
          and (
              (
                  select true
                  from underway.parked p
                  where p.queue = (_lock_parked.queue).name
                    and p.concurrency_key = done.concurrency_key
                  limit 1
              ) is null
              or underway._key_room(_lock_parked.queue, done.concurrency_key, _lock_parked.now) = 0
          )
        for update skip locked
    ));

    if (_lock_parked.queue).rate_limit_per_key is not null then
        perform underway._note_tokens(_lock_parked.queue, v_freed, _lock_parked.now);
    end if;

    return array(select t.place from unnest(v_taken) t);
end;
$$;

comment on function underway._lock_parked(underway.lane, underway.queue, timestamptz, integer) is
    'Lock parked tasks of a lane whose keys have become free, at most so many.';
