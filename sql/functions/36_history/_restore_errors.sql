-- _restore_errors: the errors of tasks that come back from the history live with them again.
--
-- Writes: attempt.

create or replace function underway._restore_errors(tasks bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    insert into underway.attempt (task, attempt, failed_at, error)
    select h.id, (past.error ->> 'attempt')::integer, (past.error ->> 'failed_at')::timestamptz, past.error
    from underway.task_history h
    cross join lateral jsonb_array_elements(h.errors) as past (error)
    where h.id = any (_restore_errors.tasks)
      and h.state in ('failed', 'cancelled');
end;
$$;

comment on function underway._restore_errors(bigint[]) is
    'Put the errors of failed and cancelled tasks back beside the live tasks.';
