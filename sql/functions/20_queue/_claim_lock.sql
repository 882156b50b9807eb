-- _claim_lock: the keys of the advisory locks of a queue, 64 bits wide.
--
--   _claim_lock      claims from a queue without limits share it; a claim within limits, and whoever changes a limit,
--                    holds it alone
--   _watermark_lock  who makes tasks ready in front of the line shares it; who moves the watermark holds it alone
--   _key_lock        who frees a slot of a concurrency key shares it; a claim that parks a task of the key holds it alone.
--                    The keys of a queue share 64 locks, so that settling 10,000 keys takes 64 locks
--
-- All are held until the transaction ends.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._claim_lock(queue text)
returns bigint
language sql
immutable
begin atomic
    select hashtextextended(queue, 1);
end;

comment on function underway._claim_lock(text) is 'The key of the advisory lock that claims from a queue take.';

create or replace function underway._watermark_lock(queue text)
returns bigint
language sql
immutable
begin atomic
    select hashtextextended(queue, 2);
end;

comment on function underway._watermark_lock(text) is
    'The key of the advisory lock that guards the watermarks of a queue.';

create or replace function underway._key_lock(queue text, key text)
returns bigint
language sql
immutable
begin atomic
    select hashtextextended(queue, 3) & ~63::bigint | (hashtext(key) & 63)::bigint;
end;

comment on function underway._key_lock(text, text) is
    'The key of the advisory lock that guards the slots of a concurrency key.';
