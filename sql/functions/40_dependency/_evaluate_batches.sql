-- _evaluate_batches: look what has become of batches, and release the tasks that wait for it.
--
-- Two may settle the last two tasks of a batch at once, and neither sees that the other does. But each writes to the row
-- of its own task first and reads the other's then, so that one of them at least finds it written to, and notes the batch:
-- maintain looks at it again when both have committed. Nobody waits for anybody: it is the same with a task that waits for
-- the batch and that another transaction has locked.
--
-- Writes: batch, batch_to_reevaluate.

create or replace function underway._lock_dependents(batch bigint, event text, fails boolean default false)
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_waiting bigint[] := array(
        select t.id
        from underway.task t
        where t.id = any (array(
            select f.task
            from underway.dependent f
            where f.batch = _lock_dependents.batch
              and f.event = _lock_dependents.event
              and f.fails >= _lock_dependents.fails
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
    -- One that is just being cancelled, or joined, is looked at again when that is over.
    if cardinality(v_locked) < cardinality(v_waiting) then
        insert into underway.batch_to_reevaluate values (_lock_dependents.batch);
    end if;

    return v_locked;
end;
$$;

comment on function underway._lock_dependents(bigint, text, boolean) is
    'The tasks that still wait for something that becomes of a batch, locked; with fails, those that fail when it will not'
    ' come. Where another transaction has locked one, the batch is noted.';

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
    v_now    timestamptz := underway._clock();
    v_batch  underway.batch;
    v_live   boolean;
    v_has_unlocked_live  boolean;
    v_failed boolean;
    v_to_end underway.dependents_to_end;
begin
    -- An old snapshot does not show what others have settled, and a locked batch is being looked at, or added to.
    if current_setting('transaction_isolation') = 'read committed' then
        select b.* into v_batch from underway.batch b where b.id = _evaluate_batch.batch for no key update skip locked;
    end if;
    if v_batch.id is null then
        insert into underway.batch_to_reevaluate values (_evaluate_batch.batch);
        return null;
    end if;

    -- From the last task on: what is settled in order leaves the dead entries before it.
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

    -- At each look, for one of them may have been locked at an earlier one.
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

    if v_live and not v_has_unlocked_live then
        insert into underway.batch_to_reevaluate values (v_batch.id);
    end if;

    if v_failed then
        v_to_end.to_fail := underway._lock_dependents(v_batch.id, 'success', fails => true);
    end if;

    return v_to_end;
end;
$$;

comment on function underway._evaluate_batch(bigint) is
    'Look what has become of a batch, and release the tasks that wait for it. Returns those that fail with it.';

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
    'Evaluate batches: release the tasks that wait for them, and cancel or fail those whose event will not come.';

create or replace function underway._reevaluate_batches(max_batches integer default 1000)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_batches bigint[];
begin
    with noted as (
        delete from underway.batch_to_reevaluate n
        where n.ctid = any (array(
            select one.ctid
            from underway.batch_to_reevaluate one
            limit _reevaluate_batches.max_batches
            for update skip locked
        ))
        returning n.batch
    )
    select array_agg(distinct n.batch order by n.batch) into v_batches from noted n;

    perform underway._evaluate_batches(array(select b.id from underway.batch b where b.id = any (v_batches) order by b.id));
end;
$$;

comment on function underway._reevaluate_batches(integer) is
    'Look again at batches of which it could not be seen whether their last task was settled.';
