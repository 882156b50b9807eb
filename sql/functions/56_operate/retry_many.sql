-- retry_many: make failed or cancelled tasks pending again, with all their attempts.
--
-- A task whose queue was dropped, whose unique key another task has, or that is in another state stays as it is.
--
--   failed | cancelled -> pending
--
-- Writes: nothing.
-- Calls: _check_tasks, retry.
-- Raises: UW001 invalid_argument.

create or replace function underway.retry_many(tasks bigint[])
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_task bigint;
begin
    foreach v_task in array underway._check_tasks(retry_many.tasks) loop
        begin
            perform underway.retry(v_task);
            return next v_task;
        exception when sqlstate 'UW003' or sqlstate 'UW004' or sqlstate 'UW005' or sqlstate 'UW010' then
            null;
        end;
    end loop;
end;
$$;

comment on function underway.retry_many(bigint[]) is
    'Make failed or cancelled tasks pending again, with all their attempts: at most 1000 ids. Returns the ids of the tasks'
    ' that were retried. A task in another state is left out, and so is one whose queue was dropped or whose unique key'
    ' another live task has.';
