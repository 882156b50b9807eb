-- _unpark_keys_with_tokens: make parked tasks ready whose key has used up its rate limit and has tokens again.
--
-- One task more is made ready than there are tokens: if the claim finds no token for it, it is parked again, and with it
-- the next time to look is recorded. The caller holds the limit lock of the queue.
--
-- Writes: ready_key.
-- Calls: _available_tokens, _next_token_at, _unpark.

create or replace function underway._unpark_keys_with_tokens(queue underway.queue, now timestamptz)
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
    v_keys text[];
begin
    -- A time further ahead than a period was recorded while the clock was wrong.
    with due as (
        delete from underway.ready_key r
        where r.queue = (_unpark_keys_with_tokens.queue).name
          and (
              r.check_at <= _unpark_keys_with_tokens.now
              or r.check_at > _unpark_keys_with_tokens.now + (_unpark_keys_with_tokens.queue).rate_period
          )
        returning r.concurrency_key
    )
    select array_agg(d.concurrency_key) into v_keys from due d;

    if v_keys is not null then
        perform underway._unpark(
            array_fill((_unpark_keys_with_tokens.queue).name, array[cardinality(v_keys)]),
            v_keys,
            array(
                select case when (_unpark_keys_with_tokens.queue).fair then 1 else 1 + floor(underway._available_tokens(
                    _unpark_keys_with_tokens.queue, _unpark_keys_with_tokens.now, k.key
                ))::integer end
                from unnest(v_keys) with ordinality as k (key, number)
                order by k.number
            )
        );
    end if;
end;
$$;

comment on function underway._unpark_keys_with_tokens(underway.queue, timestamptz) is
    'Make parked tasks of the keys ready that have tokens again.';

create or replace function underway._wake_key_at_next_token(queue underway.queue, keys text[], now timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    insert into underway.ready_key (queue, concurrency_key, check_at)
    select (_wake_key_at_next_token.queue).name, parked.key, underway._next_token_at(
        _wake_key_at_next_token.queue, _wake_key_at_next_token.now, parked.key
    )
    from (select distinct unnest(_wake_key_at_next_token.keys)) as parked (key)
    where underway._available_tokens(_wake_key_at_next_token.queue, _wake_key_at_next_token.now, parked.key) < 1
      and (
          select true
          from underway.task t
          where t.queue = (_wake_key_at_next_token.queue).name
            and not t.holds_slot
            and t.concurrency_key = parked.key
            and t.parked
          limit 1
      )
    on conflict on constraint ready_key_pkey do update set check_at = excluded.check_at;
end;
$$;

comment on function underway._wake_key_at_next_token(underway.queue, text[], timestamptz) is
    'Record when to look again at parked tasks of the keys that are out of tokens.';
