-- delete_many: remove finished tasks from the history before their retention is over.
--
-- Writes: nothing.
-- Calls: _check_tasks, delete_task.
-- Raises: UW001 invalid_argument.

create or replace function underway.delete_many(tasks bigint[])
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_task bigint;
begin
    foreach v_task in array underway._check_tasks(delete_many.tasks) loop
        begin
            perform underway.delete_task(v_task);
            return next v_task;
        exception when sqlstate 'UW004' or sqlstate 'UW005' then
            null;
        end;
    end loop;
end;
$$;

comment on function underway.delete_many(bigint[]) is
    'Remove finished tasks from the history, with their inputs, outputs and errors: at most 1000 ids. Returns the ids of the'
    ' tasks that were removed; live tasks are left out.';
