-- count_tasks: how many tasks match a filter, as far as a bounded search can tell.
--
-- Writes: nothing.
-- Calls: _read_filter, _search_tasks.
-- Raises: UW001 invalid_argument.

create or replace function underway.count_tasks(
    filter jsonb default '{}',
    max_count integer default 10000,
    out count bigint,
    out capped boolean
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
    v_found record;
begin
    if (count_tasks.max_count between 1 and 100000) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('max_count is %s', coalesce(count_tasks.max_count::text, 'null')),
            hint = 'Give a number from 1 to 100000.';
    end if;

    select s.tasks, s.before
    into v_found
    from underway._search_tasks(
        underway._read_filter(count_tasks.filter), null, count_tasks.max_count, greatest(count_tasks.max_count, 20000)
    ) s;
    count_tasks.count := cardinality(v_found.tasks);
    count_tasks.capped := v_found.before is not null;
end;
$$;

comment on function underway.count_tasks(jsonb, integer) is
    'How many tasks match a filter of find_tasks, counted up to max_count. capped is true if there may be more: the count was'
    ' reached, or too many tasks were read.';
