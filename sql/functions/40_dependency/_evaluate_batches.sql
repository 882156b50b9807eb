-- _evaluate_batches: record the outcome of batches, and start, cancel or fail the tasks that wait for them.
--
-- Problem: the last task of a batch starts what waits for the batch. A counter of live tasks would be one row for all
-- settlements of the batch; each would lock it until its transaction ends, and a handler that commits late would hold up
-- the others.
--
-- Idea: there is no counter. A settlement writes to the batch_task row of its own task, and then reads the rows of the
-- other tasks without a lock. If none of them is live, it evaluates the batch. Two transactions may settle the last two
-- tasks at once, and neither sees the change of the other. But each writes before it reads, so at least one of them finds
-- the row of the other written to (xmax), and records the batch in batch_to_reevaluate: maintain() evaluates it again
-- when both have ended. The same happens when another transaction has locked the batch or a task that waits for it.
-- Nobody waits for a lock.
--
-- Invariant: when a batch has changed, a transaction that sees the change evaluates it, or it is in batch_to_reevaluate,
-- or it has a live task that no running transaction has written to, whose settlement will evaluate it.
--
-- Writes: batch, batch_to_reevaluate.
-- Calls: _clock, _fail_dependents, _finish, _record_ends, _require_read_committed, _unblock_tasks.
-- Raises: UW001 invalid_argument.

create or replace function underway._lock_dependents(batch bigint, event text, fails_with_batch boolean default false)
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_waiting bigint[] := array(
        select t.id
        from underway.task t
        where t.id = any (array(
            select d.task
            from underway.dependent d
            where d.batch = _lock_dependents.batch
              and d.event = _lock_dependents.event
              and d.fails_with_batch >= _lock_dependents.fails_with_batch
        ))
          and t.state = 'waiting'
    );
    v_locked  bigint[] := array(
        select t.id
        from underway.task t
        where t.id = any (v_waiting)
          and t.state = 'waiting'
        order by t.id
        for update skip locked
    );
begin
    -- Another transaction may be cancelling the others, or making tasks depend on them.
    if cardinality(v_locked) < cardinality(v_waiting) then
        insert into underway.batch_to_reevaluate (batch) values (_lock_dependents.batch);
    end if;

    return v_locked;
end;
$$;

comment on function underway._lock_dependents(bigint, text, boolean) is
    'Lock the tasks that still wait for an event of a batch, or of these the ones that fail with the batch. Where another'
    ' transaction has locked one, the batch will be evaluated again.';

create or replace function underway._was_rolled_back(transaction xid)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_next     bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    -- The distance to the next id, between -2^31 and 2^31: ids without their epoch wrap around.
    v_distance bigint := mod(
        mod(_was_rolled_back.transaction::text::bigint - v_next, 4294967296) + 6442450944, 4294967296
    ) - 2147483648;
begin
    -- The status of a subtransaction is in progress until its transaction has ended. A transaction that is younger than
    -- the snapshot is running.
    return v_distance < 0 and coalesce(pg_xact_status((v_next + v_distance)::text::xid8) = 'aborted', true);
end;
$$;

comment on function underway._was_rolled_back(xid) is 'Whether a transaction or subtransaction was rolled back.';

create or replace function underway._evaluate_batch(batch bigint)
returns underway.dependents_to_end
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now               timestamptz := underway._clock();
    v_batch             underway.batch;
    v_live              boolean;
    v_has_unlocked_live boolean;
    v_failed            boolean;
    v_to_end            underway.dependents_to_end;
begin
    -- A repeatable read snapshot does not show what others have settled. A locked batch is being evaluated or extended.
    if current_setting('transaction_isolation') = 'read committed' then
        select b.* into v_batch from underway.batch b where b.id = _evaluate_batch.batch for no key update skip locked;
    end if;
    if v_batch.id is null then
        insert into underway.batch_to_reevaluate (batch) values (_evaluate_batch.batch);
        return null;
    end if;

    -- Backwards: tasks are settled in about their order, which leaves dead index entries at the beginning.
    select
        (
            select true
            from underway.batch_task m
            where m.batch = v_batch.id
              and m.outcome is null
            order by m.task desc
            limit 1
        ) is true,
        (
            select true
            from underway.batch_task m
            where m.batch = v_batch.id
              and m.outcome is null
              and m.xmax = 0
            order by m.task desc
            limit 1
        ) is true,
        (select true from underway.batch_task m where m.batch = v_batch.id and m.outcome is not null limit 1) is true
    into v_live, v_has_unlocked_live, v_failed;

    -- A transaction that was rolled back leaves its xmax, too: the task that it has not settled is live.
    if v_live and not v_has_unlocked_live and (
        select true
        from (
            select distinct m.xmax as transaction from underway.batch_task m where m.batch = v_batch.id and m.outcome is null
        ) writer
        where underway._was_rolled_back(writer.transaction)
        limit 1
    ) is null then
        insert into underway.batch_to_reevaluate (batch) values (v_batch.id);
    end if;

    v_batch.failed_at := coalesce(v_batch.failed_at, case when v_failed then v_now end);
    v_batch.final_at := coalesce(v_batch.final_at, case when not v_live then v_now end);
    v_batch.succeeded_at := coalesce(v_batch.succeeded_at, case when not v_live and not v_failed then v_now end);

    update underway.batch b
    set
        failed_at = v_batch.failed_at,
        final_at = v_batch.final_at,
        succeeded_at = v_batch.succeeded_at,
        expires_at = case when v_live then b.expires_at else v_now + b.retention end
    where b.id = v_batch.id
      and (b.failed_at, b.final_at, b.succeeded_at)
          is distinct from (v_batch.failed_at, v_batch.final_at, v_batch.succeeded_at);

    -- In each evaluation, because another transaction may have locked a dependent in an earlier one.
    if v_batch.failed_at is not null then
        perform underway._unblock_tasks(underway._lock_dependents(v_batch.id, 'failure'));
    end if;
    if v_batch.final_at is not null then
        perform underway._unblock_tasks(underway._lock_dependents(v_batch.id, 'final'));
    end if;
    if v_batch.succeeded_at is not null then
        perform underway._unblock_tasks(underway._lock_dependents(v_batch.id, 'success'));
        v_to_end.to_cancel := underway._lock_dependents(v_batch.id, 'failure');
    end if;
    if v_failed then
        v_to_end.to_fail := underway._lock_dependents(v_batch.id, 'success', fails_with_batch => true);
    end if;

    return v_to_end;
end;
$$;

comment on function underway._evaluate_batch(bigint) is
    'Record the outcome of a batch, and start the tasks whose event has occurred. Returns those whose event will not occur,'
    ' locked: to be cancelled, and to be failed.';

create or replace function underway._evaluate_batches(batches bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_batches   bigint[] := _evaluate_batches.batches;
    v_batch     bigint;
    v_to_end    underway.dependents_to_end;
    v_to_cancel bigint[];
    v_to_fail   bigint[];
    v_cancelled underway.finish_result;
begin
    -- A dependent that ends may be a task of other batches. A loop, not recursion: such a chain may be long.
    while v_batches <> '{}' loop
        v_to_cancel := '{}';
        v_to_fail := '{}';
        foreach v_batch in array v_batches loop
            v_to_end := underway._evaluate_batch(v_batch);
            v_to_cancel := v_to_cancel || v_to_end.to_cancel;
            v_to_fail := v_to_fail || v_to_end.to_fail;
        end loop;

        v_batches := '{}';
        if v_to_cancel <> '{}' then
            v_cancelled := underway._finish(v_to_cancel, null, 'cancelled');
            v_batches := underway._record_ends(v_cancelled.with_effects, 'cancelled');
        end if;
        if v_to_fail <> '{}' then
            v_batches := v_batches || underway._fail_dependents(v_to_fail);
        end if;
    end loop;
end;
$$;

comment on function underway._evaluate_batches(bigint[]) is
    'Evaluate batches: start the tasks that wait for them, and cancel or fail those whose event will not occur.';

create or replace function underway._reevaluate_batches(max_batches integer default 1000)
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
    v_batches bigint[];
begin
    perform underway._require_read_committed('maintain');

    -- The oldest first: a batch that has to be evaluated once more is added at the end, and delays no other.
    with recorded as (
        delete from underway.batch_to_reevaluate r
        where r.ctid = any (array(
            select one.ctid
            from underway.batch_to_reevaluate one
            order by one.id
            limit _reevaluate_batches.max_batches
            for update skip locked
        ))
        returning r.batch
    )
    select array_agg(distinct r.batch order by r.batch) into v_batches from recorded r;

    perform underway._evaluate_batches(array(select b.id from underway.batch b where b.id = any (v_batches) order by b.id));
end;
$$;

comment on function underway._reevaluate_batches(integer) is
    'Evaluate again at most max_batches batches whose last evaluation did not see everything.';
