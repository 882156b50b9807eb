-- _claim_lock: the keys of the advisory locks of a queue, 64 bits wide.
--
--   _claim_lock      shared by claims; exclusive for a change of a limit
--   _limit_lock      exclusive for a claim within limits, after the claim lock
--   _watermark_lock  shared by calls that make tasks ready in front of the line; exclusive for a call that moves the
--                    watermark
--   _key_lock        shared by calls that free a slot of a concurrency key; exclusive for a claim that parks a task of
--                    the key. The keys of a queue share 64 locks, so that settling 10,000 keys takes 64 locks
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

create or replace function underway._limit_lock(queue text)
returns bigint
language sql
immutable
begin atomic
    select hashtextextended(queue, 4);
end;

comment on function underway._limit_lock(text) is
    'The key of the advisory lock that a claim takes from a queue with limits, which one claim at a time may have.';

create or replace function underway._key_lock(queue text, key text)
returns bigint
language sql
immutable
begin atomic
    select hashtextextended(queue, 3) & ~63::bigint | (hashtext(key) & 63)::bigint;
end;

comment on function underway._key_lock(text, text) is
    'The key of the advisory lock that guards the slots of a concurrency key.';
