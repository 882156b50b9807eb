-- _claim_capacity: how many tasks this claim may take from a queue with limits, its concurrency keys aside.
--
-- The caller shares the claim lock of the queue. This takes the limit lock until the transaction ends, or returns 0 if
-- another claim has it. So no other claim within the limits is under way, and all running tasks are visible: no counter is
-- kept, running tasks are counted in an index.
--
-- Writes: nothing.
-- Calls: _limit_lock, _queue_capacity.
-- Raises: UW001 invalid_argument.

create or replace function underway._claim_capacity(queue text, max_tasks integer, now timestamptz)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'UW001',
            message = format(
                'queue %L has limits, and this transaction is %s', _claim_capacity.queue,
                current_setting('transaction_isolation')
            ),
            hint = 'Claim from it in a read committed transaction: an older snapshot does not show what runs.';
    end if;

    if not pg_try_advisory_xact_lock(underway._limit_lock(_claim_capacity.queue)) then
        return 0;
    end if;

    -- A statement after the lock: it sees the tasks of the last claim.
    return (
        select greatest(0, least(_claim_capacity.max_tasks, underway._queue_capacity(q, _claim_capacity.now)))
        from underway.queue q
        where q.name = _claim_capacity.queue
    );
end;
$$;

comment on function underway._claim_capacity(text, integer, timestamptz) is
    'How many tasks, at most max_tasks, the limits of a queue allow to claim now, its keys aside; 0 while another'
    ' claim decides.';
