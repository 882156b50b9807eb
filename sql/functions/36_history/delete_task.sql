-- delete_task: remove a finished task from the history before its retention is over.
--
-- Writes: task_history, unique_reservation.
-- Calls: _raise_wrong_state.
-- Raises: UW004 task_not_found, UW005 wrong_state.

create or replace function underway.delete_task(task bigint)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    v_history_row underway.task_history;
begin
    delete from underway.task_history h where h.id = delete_task.task returning h.* into v_history_row;
    if not found then
        perform underway._raise_wrong_state(delete_task.task, 'can be deleted; cancel it first', 'final');
    end if;

    -- A task that did not succeed does not reserve its key, and the history no longer shows how it ended.
    if v_history_row.unique_key is not null and v_history_row.state <> 'succeeded' then
        delete from underway.unique_reservation h
        where h.queue = v_history_row.queue
          and h.unique_key = v_history_row.unique_key
          and h.task = v_history_row.id;
    end if;
end;
$$;

comment on function underway.delete_task(bigint) is
    'Remove a finished task from the history, with its input, output and errors.';
