-- _lock_claims: wait until no claim from a queue is under way, and keep out new ones until the transaction ends.
--
-- A claim holds the claim lock of its queue until its transaction ends (dequeue); it only tries for the lock. So new claims
-- skip the queue as soon as this function waits, and after it has returned each claim has either been committed or will
-- read the queue again, once it gets the lock.
--
-- Writes: nothing.
-- Calls: _claim_lock.

create or replace function underway._lock_claims(queue text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(underway._claim_lock(_lock_claims.queue));
end;
$$;

comment on function underway._lock_claims(text) is
    'Wait until no claim from a queue is under way, and keep out new ones until the transaction ends.';
