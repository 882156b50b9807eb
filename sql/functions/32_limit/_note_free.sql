-- _note_free: something was parked that may perhaps run; the next claim looks.
--
-- Writes: ready_key.

create or replace function underway._note_free(queue text, keys text[])
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
    v_key text;
begin
    -- A note that is there will do, for it stays while it is locked: a claim that would delete it passes over it. Where
    -- the snapshot is old, it may be gone or moved.
    foreach v_key in array coalesce(_note_free.keys, '{}') loop
        perform
        from underway.ready_key f
        where current_setting('transaction_isolation') = 'read committed'
          and f.queue = _note_free.queue
          and f.concurrency_key = v_key
          and f.check_at = '-infinity'
        limit 1
        for key share skip locked;

        if not found then
            insert into underway.ready_key (queue, concurrency_key) values (_note_free.queue, v_key);
        end if;
    end loop;
end;
$$;

comment on function underway._note_free(text, text[]) is
    'Note that these keys of a queue are to be looked at, where that is not noted yet.';
