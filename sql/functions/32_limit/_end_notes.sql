-- _end_notes: of keys that a claim has looked at, what is noted and has been seen to is noted no longer.
--
-- A key keeps one note while there is more to take, so that it stands in line once.
--
-- Writes: ready_key.

create or replace function underway._end_notes(queue underway.queue, keys underway.free_key[], now timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_keys   text[] := array(select k.key from unnest(_end_notes.keys) k);
    v_firsts bigint[] := array(select k.place from unnest(_end_notes.keys) k);
    -- Passed over is what somebody relies on who is just enqueueing. With these locked nobody begins to, and the next
    -- statement sees all that those have enqueued who did before.
    v_locked tid[] := array(
        select f.ctid
        from underway.ready_key f
        where f.ctid = any (array(
            select note.ctid
            from unnest(v_keys) as looked (key)
            cross join lateral (
                select n.ctid
                from underway.ready_key n
                where n.queue = (_end_notes.queue).name
                  and n.concurrency_key = looked.key
                  and n.check_at = '-infinity'
                limit 1000
            ) note
        ))
        for update skip locked
    );
begin
    -- No exists, for which a plan may read the whole table once.
    delete from underway.ready_key f
    where f.ctid = any (v_locked)
      and (
          f.place <> all (v_firsts)
          or (
              select true
              from underway.parked p
              where p.queue = (_end_notes.queue).name
                and p.concurrency_key = f.concurrency_key
              limit 1
          ) is null
          or underway._key_room(_end_notes.queue, f.concurrency_key, _end_notes.now) = 0
      );

    if (_end_notes.queue).rate_limit_per_key is not null then
        perform underway._note_tokens(_end_notes.queue, v_keys, _end_notes.now);
    end if;
end;
$$;

comment on function underway._end_notes(underway.queue, underway.free_key[], timestamptz) is
    'Delete what is noted of keys where nothing more may be taken, and all notes of a key but its first.';
