-- delete_task: a finished task leaves the history before its time.
--
-- Writes: task_history.
-- Refuses: UW004 task_not_found, UW005 wrong_state.

create or replace function underway.delete_task(task bigint)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
    delete from underway.task_history h where h.id = delete_task.task;
    if not found then
        perform underway._wrong_state(delete_task.task, 'can be deleted; cancel it first', 'final');
    end if;
end;
$$;

comment on function underway.delete_task(bigint) is
    'Remove a finished task from the history, with its input, output and errors.';
