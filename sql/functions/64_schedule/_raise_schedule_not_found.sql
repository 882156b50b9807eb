-- _raise_schedule_not_found: raise the error for a schedule that does not exist.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW009 schedule_not_found.

create or replace function underway._raise_schedule_not_found(name text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'UW009',
        message = format('schedule %L does not exist', _raise_schedule_not_found.name),
        hint = 'The view underway.schedule_stats lists the schedules. Create one with underway.schedule().';
end;
$$;

comment on function underway._raise_schedule_not_found(text) is 'Raise the error for a schedule that does not exist.';
