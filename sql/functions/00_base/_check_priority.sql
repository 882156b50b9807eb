-- _check_priority: refuse a priority that is not an integer from -100 to 100.
--
-- Each priority in use costs every claim of its queue one look into the index, so there is a bound on their number.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._check_priority(priority integer)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if (_check_priority.priority between -100 and 100) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('priority is %s', coalesce(_check_priority.priority::text, 'null')),
            hint = 'Give an integer from -100 to 100; 0 is the default, and higher runs first.';
    end if;
end;
$$;

comment on function underway._check_priority(integer) is
    'Refuse a priority that is not an integer from -100 to 100.';
