-- delete_task: a finished task leaves the history before its time.
--
-- Writes: task_history, unique_reservation.
-- Raises: UW004 task_not_found, UW005 wrong_state.

create or replace function underway.delete_task(task bigint)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_gone underway.task_history;
begin
    delete from underway.task_history h where h.id = delete_task.task returning h.* into v_gone;
    if not found then
        perform underway._raise_wrong_state(delete_task.task, 'can be deleted; cancel it first', 'final');
    end if;

    -- Nobody would know any more that it did not succeed, and so does not hold its key.
    if v_gone.unique_key is not null and v_gone.state <> 'succeeded' then
        delete from underway.unique_reservation h
        where h.queue = v_gone.queue
          and h.unique_key = v_gone.unique_key
          and h.task = v_gone.id;
    end if;
end;
$$;

comment on function underway.delete_task(bigint) is
    'Remove a finished task from the history, with its input, output and errors.';
