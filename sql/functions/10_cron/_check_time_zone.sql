-- _check_time_zone: refuse a time zone that the server does not know or that is not a place.
--
-- An abbreviation such as CET is one offset all year. A POSIX zone such as UTC+2 has the opposite sign of what its
-- author expects.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW008 invalid_cron.

create or replace function underway._check_time_zone(zone text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if _check_time_zone.zone = 'UTC' then
        return;
    end if;

    -- The server reads pg_timezone_names from many files, so look there only for a name that may not be a place: one
    -- with a digit may be a POSIX zone, one that begins with a colon an abbreviation, and right/ counts leap seconds.
    if _check_time_zone.zone ~* '[0-9]|^[^a-z]|^right/'
       and _check_time_zone.zone !~ '^Etc/GMT([+]([0-9]|1[0-2])|-([0-9]|1[0-4]))$'
       and not exists (select from pg_timezone_names n where lower(n.name) = lower(_check_time_zone.zone collate "C"))
       or _check_time_zone.zone !~ '/'
       and upper(_check_time_zone.zone collate "C") not in ('UTC', 'GMT', 'UCT', 'ZULU')
       and exists (select from pg_timezone_abbrevs a where a.abbrev = upper(_check_time_zone.zone collate "C"))
    then
        raise invalid_parameter_value;
    end if;

    perform timestamp '2000-01-01' at time zone _check_time_zone.zone;
exception
    when invalid_parameter_value then
        raise exception using
            errcode = 'UW008',
            message = format('%L is not a time zone of this server', _check_time_zone.zone),
            hint = 'Give a name from pg_timezone_names, such as Europe/Berlin, or UTC.';
end;
$$;

comment on function underway._check_time_zone(text) is
    'Refuse a time zone that the server does not know, an abbreviation and a POSIX zone.';
