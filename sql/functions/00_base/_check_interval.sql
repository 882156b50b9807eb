-- _check_interval: refuse an interval outside its bounds. Null is accepted: it means that the setting of the queue applies.
--
-- Writes: nothing.
-- Calls: nothing.
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
    'Refuse an interval that is below its lower bound or above 100 years.';
