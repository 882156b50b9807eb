-- _lock_parked: lock parked tasks of a lane whose keys have become free.
--
-- In a fair queue each key gives one task after the other in turn, and goes to the end of the line; elsewhere the tasks of
-- all free keys come in their own order.
--
-- Writes: ready_key.

create or replace function underway._lock_parked(
    lane underway.queue_priority,
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
set jit = off
as $$
declare
    v_fair  boolean := (_lock_parked.queue).fair;
    v_line  underway.free_key[] := array(
        select free
        from underway._free_in_line(
            _lock_parked.lane, _lock_parked.queue, _lock_parked.now, case when v_fair then _lock_parked.max_tasks else 1000 end
        ) free
    );
    v_share integer := _lock_parked.max_tasks;
    v_heads bigint[];
    v_keys  text[];
    v_key   text;
    v_taken underway.seen_task[];
begin
    if v_line = '{}' then
        return '{}';
    end if;

    -- Of each key one, and of what is left twice its share, for others may have less.
    if v_fair then
        v_share := (
            select 1 + ceil(2.0 * (_lock_parked.max_tasks - keys.count) / greatest(1, keys.count))
            from (select count(*) from unnest(v_line) free where free.room > 0) keys
        );
    end if;

    select array_agg(head.task order by head.turn, head.place), array_agg(head.key order by head.turn, head.place)
    into v_heads, v_keys
    from (
        select
            head.task, free.key,
            case when v_fair then head.turn end as turn,
            case when v_fair then free.place end as place
        from unnest(v_line) free
        cross join lateral (
            select p.task, p.ready_at, row_number() over (order by p.ready_at, p.task) as turn
            from underway.parked p
            where p.queue = (_lock_parked.queue).name
              and p.concurrency_key = free.key
              and p.priority = (_lock_parked.lane).priority
            order by p.ready_at, p.task
            limit least(free.room, v_share)
        ) head
        order by 3, 4, head.ready_at, head.task
        limit _lock_parked.max_tasks
    ) head;

    v_taken := array(
        select row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.seen_task
        from underway.task t
        where t.id = any (v_heads)
          and t.parked
        for no key update skip locked
    );
    perform underway._count_running(_lock_parked.queue, v_taken, _lock_parked.now);
    perform underway._end_notes(_lock_parked.queue, v_line, _lock_parked.now);

    -- Who was served last stands last, one by one. So is a key whose task somebody else has locked just now: at the head
    -- of the line it would hold up the others.
    if v_fair then
        for v_key in
            select served.key
            from unnest(v_keys) with ordinality as served (key, turn)
            group by served.key
            order by max(served.turn)
        loop
            update underway.ready_key f
            set place = default
            where f.queue = (_lock_parked.queue).name
              and f.concurrency_key = v_key
              and f.check_at = '-infinity';
        end loop;
    end if;

    return array(
        select t.place
        from unnest(v_heads) with ordinality as head (task, turn)
        join unnest(v_taken) t on t.id = head.task
        order by head.turn
    );
end;
$$;

comment on function underway._lock_parked(underway.queue_priority, underway.queue, timestamptz, integer) is
    'Lock parked tasks of a lane whose keys have become free, at most so many.';
