-- _take_tokens: the token bucket of a queue with a rate limit, or of one of its keys. It holds as many tokens as the limit
-- and fills evenly, as many in a rate_period; each claim of a task takes one.
--
-- Writes: token_bucket.

create or replace function underway._tokens(queue underway.queue, now timestamptz, key text default '')
returns double precision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_limit integer := case
        when _tokens.key = '' then (_tokens.queue).rate_limit else (_tokens.queue).rate_limit_per_key
    end;
    v_last  underway.token_bucket;
begin
    select b.*
    into v_last
    from underway.token_bucket b
    where b.queue = (_tokens.queue).name
      and b.concurrency_key = _tokens.key
    order by b.noted_by desc
    limit 1;

    -- After a clock was put back, too: nothing is learned from a time that is far ahead.
    if not found or v_last.refilled_at > _tokens.now + (_tokens.queue).rate_period then
        return v_limit;
    end if;

    -- A clock that was put back takes nothing away.
    return least(
        v_limit,
        v_last.tokens + v_limit * greatest(0, extract(epoch from _tokens.now - v_last.refilled_at))
            / extract(epoch from (_tokens.queue).rate_period)
    );
end;
$$;

comment on function underway._tokens(underway.queue, timestamptz, text) is
    'How many tokens the bucket of a queue, or of a key of it, holds now; null where there is no such limit.';

create or replace function underway._token_at(queue underway.queue, now timestamptz, key text default '')
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return _token_at.now + greatest(0, 1 - underway._tokens(_token_at.queue, _token_at.now, _token_at.key))
        * (_token_at.queue).rate_period / case
            when _token_at.key = '' then (_token_at.queue).rate_limit else (_token_at.queue).rate_limit_per_key
        end;
end;
$$;

comment on function underway._token_at(underway.queue, timestamptz, text) is
    'When the bucket of a queue, or of a key of it, holds a token.';

create or replace function underway._take_tokens(
    queue underway.queue,
    now timestamptz,
    tokens integer,
    key text default ''
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_noted_by bigint;
begin
    insert into underway.token_bucket (queue, concurrency_key, tokens, refilled_at)
    values (
        (_take_tokens.queue).name,
        _take_tokens.key,
        underway._tokens(_take_tokens.queue, _take_tokens.now, _take_tokens.key) - _take_tokens.tokens,
        _take_tokens.now
    )
    returning noted_by into v_noted_by;

    -- Passed over is what somebody is just pruning.
    delete from underway.token_bucket b
    where b.ctid = any (array(
        select earlier.ctid
        from underway.token_bucket earlier
        where earlier.queue = (_take_tokens.queue).name
          and earlier.concurrency_key = _take_tokens.key
          and earlier.noted_by < v_noted_by
        for update skip locked
    ));
end;
$$;

comment on function underway._take_tokens(underway.queue, timestamptz, integer, text) is
    'Take tokens out of the bucket of a queue, or of a key of it; the caller has it to itself.';
