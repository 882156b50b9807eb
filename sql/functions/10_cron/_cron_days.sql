-- _cron_days: the days of a month that a cron expression matches, one bit for each day of the month.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._cron_days(cron underway.cron, year integer, month integer)
returns bit varying
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_length integer := case
        when _cron_days.month in (4, 6, 9, 11) then 30
        when _cron_days.month <> 2 then 31
        when _cron_days.year % 4 = 0 and (_cron_days.year % 100 <> 0 or _cron_days.year % 400 = 0) then 29
        else 28
    end;
    -- The weekday of the first day of the month; Sunday is 0. 1970-01-01 was a Thursday.
    v_first  integer := (((make_date(_cron_days.year, _cron_days.month, 1) - date '1970-01-01' + 4) % 7) + 7) % 7;
    v_bits   bit varying;
    v_rule   text;
    v_number integer;
    v_day    integer;
begin
    if cron.every_day and cron.every_weekday then
        return repeat('1', v_length)::bit varying;
    end if;

    -- If both day fields restrict the days, either may match.
    v_bits := case when cron.every_day then repeat('0', 31)::bit varying else cron.days end;
    if not cron.every_weekday then
        v_bits := v_bits | substring(
            cron.weekdays || cron.weekdays || cron.weekdays || cron.weekdays || cron.weekdays || cron.weekdays
            from v_first + 1 for 31
        );
    end if;

    foreach v_rule in array cron.days_by_rule loop
        v_number := substring(v_rule from '^[0-9]+')::integer;
        if v_rule = 'L' then
            v_day := v_length;
        elsif v_rule like '%W' then
            -- The nearest weekday in the same month.
            v_day := least(v_number, v_length);
            v_day := v_day + case (v_first + v_day - 1) % 7
                when 6 then case v_day when 1 then 2 else -1 end
                when 0 then case v_day when v_length then -2 else 1 end
                else 0
            end;
        else
            v_day := 1 + (v_number - v_first + 7) % 7;
            if v_rule like '%L' then
                v_day := v_day + (v_length - v_day) / 7 * 7;
            else
                v_day := v_day + 7 * (right(v_rule, 1)::integer - 1);
            end if;
        end if;
        if v_day <= 31 then
            v_bits := set_bit(v_bits::bit(31), v_day - 1, 1);
        end if;
    end loop;

    return substring(v_bits for v_length);
end;
$$;

comment on function underway._cron_days(underway.cron, integer, integer) is
    'The days of a month that match: a row of bits, one for each day of the month.';
