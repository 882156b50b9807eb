-- _reactivate_in_batches: a finished task is live again, and so it is in its batches.
--
-- The caller sets `in_batch` in any case: a repeatable read transaction may not see all batches of the task here.
--
-- Writes: batch_task.
-- Calls: nothing.

create or replace function underway._reactivate_in_batches(task bigint)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    update underway.batch_task m set outcome = null where m.task = _reactivate_in_batches.task;
end;
$$;

comment on function underway._reactivate_in_batches(bigint) is
    'A task has come back from the history: it is live again in its batches.';
