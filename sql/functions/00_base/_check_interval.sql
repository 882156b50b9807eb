-- _check_interval: refuse a length of time outside its bounds; null passes, for it means "as the queue says".
--
-- Writes: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._check_interval(name text, value interval, shortest interval)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if _check_interval.value not between _check_interval.shortest and '100 years' then
        raise exception using
            errcode = 'UW001',
            message = format('%s is %s', _check_interval.name, _check_interval.value),
            hint = format('Give a %s between %s and 100 years.', _check_interval.name, _check_interval.shortest);
    end if;
end;
$$;

comment on function underway._check_interval(text, interval, interval) is
    'Refuse a length of time that is shorter than the shortest allowed or longer than a hundred years.';
