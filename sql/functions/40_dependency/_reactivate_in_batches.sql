-- _reactivate_in_batches: a finished task is live again; the batches that it is a task of follow it anew.
--
-- It is `in_batch` in any case: with an old snapshot, its batches are not seen here.
--
-- Writes: batch_task.

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
    'A task has come back from the history: its batches follow it anew.';
