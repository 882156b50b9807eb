-- find_tasks: search tasks, live and finished, the newest first.
--
-- Writes: nothing.
-- Calls: _read_filter, _search_tasks.
-- Raises: UW001 invalid_argument.

create or replace function underway.find_tasks(
    filter jsonb default '{}',
    before bigint default null,
    max_tasks integer default 50,
    max_read integer default 20000,
    out tasks bigint[],
    out next_before bigint
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
    if (find_tasks.max_tasks between 1 and 10000 and find_tasks.max_read between 1 and 1000000) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('max_tasks is %s and max_read is %s', coalesce(find_tasks.max_tasks::text, 'null'),
                coalesce(find_tasks.max_read::text, 'null')),
            hint = 'Give max_tasks from 1 to 10000 and max_read from 1 to 1000000.';
    end if;

    select s.tasks, s.before
    into find_tasks.tasks, find_tasks.next_before
    from underway._search_tasks(
        underway._read_filter(find_tasks.filter), find_tasks.before, find_tasks.max_tasks, find_tasks.max_read
    ) s;
end;
$$;

comment on function underway.find_tasks(jsonb, bigint, integer, integer) is
    'The ids of the newest tasks that match a filter, by descending id. The filter is a JSON object; its keys are'
    ' state, queue, job and ids (arrays), key (a unique or concurrency key), enqueued_after, enqueued_before,'
    ' finished_after, finished_before, error (a part of the error, in any case), input (an SQL/JSON path that finds'
    ' something, or true), worker and dead_letter. Reads at most max_read tasks. next_before is null when there are no'
    ' more tasks; otherwise pass it as before to go on, even if no task was found.';
