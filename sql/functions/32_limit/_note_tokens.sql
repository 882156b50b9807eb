-- _note_tokens: note when to look again at what is parked for want of a token of its key.
--
-- Writes: ready_key.

create or replace function underway._note_tokens(queue underway.queue, keys text[], now timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    insert into underway.ready_key (queue, concurrency_key, check_at)
    select (_note_tokens.queue).name, given.key, token.at
    from unnest(_note_tokens.keys) as given (key)
    cross join lateral (
        select greatest(
            underway._token_at(_note_tokens.queue, _note_tokens.now, given.key),
            _note_tokens.now + interval '1 microsecond'
        ) as at
    ) token
    where underway._tokens(_note_tokens.queue, _note_tokens.now, given.key) < 1
      and (
          select true
          from underway.ready_key f
          where f.queue = (_note_tokens.queue).name
            and f.check_at = token.at
            and f.concurrency_key = given.key
          limit 1
      ) is null;
end;
$$;

comment on function underway._note_tokens(underway.queue, text[], timestamptz) is
    'Note when to look again at what is parked for want of a token of its key.';
