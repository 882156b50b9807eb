-- _available_tokens: how many tokens a bucket holds. The bucket of a queue with a rate_limit, or of one of its keys with a
-- rate_limit_per_key, holds as many tokens as the limit and refills evenly, the whole limit in a rate_period. Each claim
-- of a task takes one. A bucket without a row is full.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._available_tokens(queue underway.queue, now timestamptz, key text default '')
returns double precision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_limit integer := case
        when _available_tokens.key = '' then (_available_tokens.queue).rate_limit
        else (_available_tokens.queue).rate_limit_per_key
    end;
    v_last  underway.token_bucket;
begin
    select b.*
    into v_last
    from underway.token_bucket b
    where b.queue = (_available_tokens.queue).name
      and b.concurrency_key = _available_tokens.key
    order by b.version desc
    limit 1;

    -- A time that is far ahead was recorded while the clock was wrong.
    if not found or v_last.refilled_at > _available_tokens.now + (_available_tokens.queue).rate_period then
        return v_limit;
    end if;

    -- A clock that was put back a little takes no token away.
    return least(
        v_limit,
        v_last.tokens + v_limit * greatest(0, extract(epoch from _available_tokens.now - v_last.refilled_at))
            / extract(epoch from (_available_tokens.queue).rate_period)
    );
end;
$$;

comment on function underway._available_tokens(underway.queue, timestamptz, text) is
    'How many tokens the bucket of a queue, or of a key of it, holds; null where there is no such limit.';

create or replace function underway._next_token_at(queue underway.queue, now timestamptz, key text default '')
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return _next_token_at.now
        + greatest(0, 1 - underway._available_tokens(_next_token_at.queue, _next_token_at.now, _next_token_at.key))
        * (_next_token_at.queue).rate_period / case
            when _next_token_at.key = '' then (_next_token_at.queue).rate_limit
            else (_next_token_at.queue).rate_limit_per_key
        end;
end;
$$;

comment on function underway._next_token_at(underway.queue, timestamptz, text) is
    'When the bucket of a queue, or of a key of it, holds a whole token.';
