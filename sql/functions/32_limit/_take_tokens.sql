-- _take_tokens: take tokens out of the bucket of a queue, or of one of its keys. The caller holds the limit lock of the
-- queue.
--
-- Writes: token_bucket.
-- Calls: _available_tokens.

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
    v_version bigint;
begin
    insert into underway.token_bucket (queue, concurrency_key, tokens, refilled_at)
    values (
        (_take_tokens.queue).name,
        _take_tokens.key,
        underway._available_tokens(_take_tokens.queue, _take_tokens.now, _take_tokens.key) - _take_tokens.tokens,
        _take_tokens.now
    )
    returning version into v_version;

    -- The row before, found from the newest on: a long snapshot keeps an index entry of each that was deleted.
    delete from underway.token_bucket b
    where b.ctid = any (array(
        select earlier.ctid
        from underway.token_bucket earlier
        where earlier.queue = (_take_tokens.queue).name
          and earlier.concurrency_key = _take_tokens.key
          and earlier.version < v_version
        order by earlier.version desc
        limit 1
        for update skip locked
    ));
end;
$$;

comment on function underway._take_tokens(underway.queue, timestamptz, integer, text) is
    'Take tokens out of the bucket of a queue, or of a key of it.';
