-- _free_in_line: the keys of a queue that are noted as free, in the order of their line, each once.
--
-- Writes: ready_key.

create or replace function underway._free_in_line(
    lane underway.queue_priority,
    queue underway.queue,
    now timestamptz,
    max_keys integer
)
returns setof underway.free_key
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off -- the line is read no further than keys are asked for
set jit = off
as $$
declare
    v_seen text[] := '{}';
    v_remaining integer := _free_in_line.max_keys;
    v_note record;
    v_room integer;
begin
    -- What had to wait for a token joins the line.
    update underway.ready_key f
    set check_at = '-infinity', place = default
    where f.ctid = any (array(
        select due.ctid
        from underway.ready_key due
        where due.queue = (_free_in_line.queue).name
          and due.check_at > '-infinity'
          and due.check_at <= _free_in_line.now
        order by due.check_at
        limit 1000
        for no key update
    ))
    -- And what was noted before the clock was put back.
    or f.ctid = any (array(
        select ahead.ctid
        from underway.ready_key ahead
        where ahead.queue = (_free_in_line.queue).name
          and ahead.check_at > _free_in_line.now + (_free_in_line.queue).rate_period
        order by ahead.check_at
        limit 1000
        for no key update
    ));

    -- Passed over are keys that have something in another lane only. Those that have nothing are given, for their notes
    -- are done with.
    for v_note in
        select line.key, line.place, head.priority is not null as here
        from (
            select f.concurrency_key as key, f.place
            from underway.ready_key f
            where f.queue = (_free_in_line.queue).name
              and f.check_at = '-infinity'
            order by f.place
            limit 1000
        ) line
        left join lateral (
            select p.priority
            from underway.parked p
            where p.queue = (_free_in_line.queue).name
              and p.concurrency_key = line.key
              and p.priority = (_free_in_line.lane).priority
            limit 1
        ) head on true
        where head.priority is not null
           or (
               select true
               from underway.parked p
               where p.queue = (_free_in_line.queue).name
                 and p.concurrency_key = line.key
               limit 1
           ) is null
        order by line.place
    loop
        exit when v_remaining = 0;
        continue when v_note.key = any (v_seen);
        v_seen := v_seen || v_note.key;

        v_room := case
            when v_note.here then underway._key_room(_free_in_line.queue, v_note.key, _free_in_line.now) else 0
        end;
        if v_room > 0 then
            v_remaining := v_remaining - 1;
        end if;
        return next row(v_note.key, v_note.place, v_room)::underway.free_key;
    end loop;
end;
$$;

comment on function underway._free_in_line(underway.queue_priority, underway.queue, timestamptz, integer) is
    'The keys that are noted as free and have something in a lane, or nothing at all: until there are so many of which a'
    ' task may be taken, and of the first thousand notes at most.';
