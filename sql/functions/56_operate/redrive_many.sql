-- redrive_many: move dead letters back to the queues that they came from, as the tasks that they were.
--
-- A letter stays while another task has its unique key, and when its queue was dropped.
--
--   failed -> pending
--
-- Writes: nothing.
-- Calls: _check_tasks, _redrive.
-- Raises: UW001 invalid_argument.

create or replace function underway.redrive_many(tasks bigint[])
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query select moved.id from unnest(underway._redrive(underway._check_tasks(redrive_many.tasks))) as moved (id);
end;
$$;

comment on function underway.redrive_many(bigint[]) is
    'Move live dead letters back to their original queues, under their original ids and with all their attempts: at most 1000'
    ' ids. Returns the ids of the dead letters that were moved.';
