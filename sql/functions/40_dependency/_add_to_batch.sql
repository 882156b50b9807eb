-- _add_to_batch: add tasks to a batch, live or finished.
--
-- Live tasks are locked, in the order of their ids, so that each ends either before or after: the function waits for a
-- settlement that is under way, and a later settlement waits for the caller's transaction.
--
-- Writes: task, batch, batch_task.
-- Calls: _raise_wrong_state.
-- Raises: UW004 task_not_found, UW005 wrong_state.

create or replace function underway._add_to_batch(batch bigint, tasks bigint[])
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
    v_live    bigint[];
    v_rest    bigint[];
    v_missing bigint;
begin
    -- Repeat until each is found in one table: a finished task may be retried between the two reads.
    loop
        v_live := array(
            select t.id from underway.task t where t.id = any (_add_to_batch.tasks) order by t.id for no key update
        );
        v_rest := array(select unnest(_add_to_batch.tasks) except select unnest(v_live));
        exit when v_rest = '{}';

        select ended.id
        into v_missing
        from unnest(v_rest) as ended (id)
        left join lateral (
            select h.id from underway.task_history h where h.id = ended.id limit 1 for key share
        ) found on true
        where found.id is null
        limit 1;
        exit when not found;

        if not exists (select from underway.task t where t.id = v_missing) then
            perform underway._raise_wrong_state(v_missing, 'can be waited for', 'live or in the history');
        end if;
    end loop;

    -- Also those that are in_batch already: a repeatable read transaction that settles one does not see this batch, and
    -- fails with a serialization error because of this update.
    update underway.task t set in_batch = true where t.id = any (v_live);

    insert into underway.batch_task (task, batch, outcome)
    select live.id, _add_to_batch.batch, null
    from unnest(v_live) as live (id)
    union all
    select ended.id, _add_to_batch.batch, h.state
    from unnest(v_rest) as ended (id)
    cross join lateral (select past.state from underway.task_history past where past.id = ended.id limit 1) h
    where h.state <> 'succeeded';

    update underway.batch b set tasks = b.tasks + cardinality(v_live) + cardinality(v_rest) where b.id = _add_to_batch.batch;
end;
$$;

comment on function underway._add_to_batch(bigint, bigint[]) is
    'Add tasks to a batch; each is given once, and none is in it yet.';
