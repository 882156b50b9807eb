-- _take_tokens: the token bucket of a queue with a rate limit. It holds rate_limit tokens and fills evenly, as many in a
-- rate_period; each claim of a task takes one.
--
-- Writes: bucket.

create or replace function underway._tokens(queue underway.queue, now timestamptz)
returns double precision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_last underway.bucket;
begin
    select b.*
    into v_last
    from underway.bucket b
    where b.queue = (_tokens.queue).name
    order by b.noted_by desc
    limit 1;

    if not found then
        return (_tokens.queue).rate_limit;
    end if;

    -- A clock that was put back takes nothing away.
    return least(
        (_tokens.queue).rate_limit,
        v_last.tokens + (_tokens.queue).rate_limit * greatest(0, extract(epoch from _tokens.now - v_last.filled_at))
            / extract(epoch from (_tokens.queue).rate_period)
    );
end;
$$;

comment on function underway._tokens(underway.queue, timestamptz) is 'How many tokens the bucket of a queue holds now.';

create or replace function underway._take_tokens(queue underway.queue, now timestamptz, tokens integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_noted_by bigint;
begin
    insert into underway.bucket (queue, tokens, filled_at)
    values (
        (_take_tokens.queue).name,
        underway._tokens(_take_tokens.queue, _take_tokens.now) - _take_tokens.tokens,
        _take_tokens.now
    )
    returning noted_by into v_noted_by;

    delete from underway.bucket b where b.queue = (_take_tokens.queue).name and b.noted_by < v_noted_by;
end;
$$;

comment on function underway._take_tokens(underway.queue, timestamptz, integer) is
    'Take tokens out of the bucket of a queue; the caller has it to itself.';
