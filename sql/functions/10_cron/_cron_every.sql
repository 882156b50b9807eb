-- _cron_every: the interval of '@every 90 minutes' in seconds.
--
-- A day has 24 hours and a week 7 days. The grammar is a subset of the server's type interval, which also accepts
-- months and depends on the settings of the session.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW008 invalid_cron.

create or replace function underway._cron_every(cron text)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    c_blanks   constant text := E' \t\n\r\013\f';
    v_text     text := btrim(lower(_cron_every.cron collate "C"), c_blanks);
    v_interval text collate "C" := btrim(substring(v_text from length('@every') + 1), c_blanks);
    v_clock    text[] := regexp_match(v_interval, '([0-9]+):([0-9]+)(?::([0-9]+))?$');
    v_seconds  numeric;
begin
    -- Amounts with units, then hours:minutes or hours:minutes:seconds; either may be missing.
    if v_interval ~ (
        '^([0-9]{1,9}([.][0-9]{1,6})?[[:space:]]*'
        || '(w|weeks?|d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?),?[[:space:]]*)*'
        || '([0-9]{1,9}:[0-5][0-9](:[0-5][0-9])?)?$'
    ) then
        select sum(amount.parts[1]::numeric * case amount.parts[2]
            when 'w' then 604800
            when 'd' then 86400
            when 'h' then 3600
            when 'm' then 60
            when 's' then 1
        end)
        into v_seconds
        from regexp_matches(v_interval, '([0-9.]+)[[:space:]]*([wdhms])', 'g') as amount (parts);
        v_seconds := coalesce(v_seconds, 0)
            + coalesce(v_clock[1]::numeric * 3600 + v_clock[2]::numeric * 60 + coalesce(v_clock[3]::numeric, 0), 0);
    end if;

    if (v_seconds between 1 and 100 * 31557600::bigint and v_seconds = trunc(v_seconds)) is not true then
        raise exception using
            errcode = 'UW008',
            message = format('cron expression %L: the interval is %L', _cron_every.cron, v_interval),
            hint = 'Give weeks, days, hours, minutes and seconds, such as 90 minutes, 1h30m or 01:30:00: a whole number'
                ' of seconds, at least 1 second and at most 100 years. Months and years have no fixed length; use'
                ' @monthly, @yearly or cron fields for them.';
    end if;
    return v_seconds;
end;
$$;

comment on function underway._cron_every(text) is
    'The interval of an @every expression in seconds: weeks, days of 24 hours, hours, minutes and seconds.';
