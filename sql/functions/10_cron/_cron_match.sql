-- _cron_match: the first local time after a given one that a cron expression matches. It knows no time zones.
--
-- Writes: nothing.
-- Calls: _cron_days.

create or replace function underway._cron_match(cron underway.cron, after timestamp)
returns timestamp
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_from   timestamp := date_trunc('second', _cron_match.after) + interval '1 second';
    v_year   integer := date_part('year', v_from);
    v_month  integer := date_part('month', v_from);
    v_day    integer := date_part('day', v_from);
    v_hour   integer := date_part('hour', v_from);
    v_minute integer := date_part('minute', v_from);
    v_second integer := date_part('second', v_from);
    -- The rarest expression, 29 February on a given weekday, comes within 40 years, also across 2100.
    v_last   integer := v_year + 41;
    -- The distance to the next match of a field plus 1; 0 when the field has no further match.
    v_step   integer;
begin
    -- The time of day. When a field advances, the finer fields restart from their first match, which is computed last:
    -- they are null until then.
    v_step := position(B'1' in substring(cron.seconds from v_second + 1));
    v_second := case when v_step > 0 then v_second + v_step - 1 end;
    v_minute := v_minute + case when v_step > 0 then 0 else 1 end;

    v_step := position(B'1' in substring(cron.minutes from v_minute + 1));
    v_second := case when v_step = 1 then v_second end;
    v_minute := case when v_step > 0 then v_minute + v_step - 1 end;
    v_hour := v_hour + case when v_step > 0 then 0 else 1 end;

    v_step := position(B'1' in substring(cron.hours from v_hour + 1));
    v_minute := case when v_step = 1 then v_minute end;
    v_hour := case when v_step > 0 then v_hour + v_step - 1 end;
    v_day := v_day + case when v_step > 0 then 0 else 1 end;

    -- The date.
    loop
        if cron.years is not null then
            v_step := position(B'1' in substring(cron.years from greatest(v_year - 1969, 1)));
            if v_step = 0 then
                return null;
            end if;
            if v_step > 1 or v_year < 1970 then
                v_year := greatest(v_year, 1970) + v_step - 1;
                v_month := 1;
                v_day := 1;
                v_hour := null;
            end if;
        elsif v_year > v_last then
            return null;
        end if;

        v_step := position(B'1' in substring(cron.months from v_month));
        if v_step <> 1 then
            v_day := 1;
            v_hour := null;
        end if;
        if v_step = 0 then
            v_year := v_year + 1;
            v_month := 1;
            continue;
        end if;
        v_month := v_month + v_step - 1;

        v_step := position(B'1' in substring(underway._cron_days(cron, v_year, v_month) from v_day));
        if v_step <> 1 then
            v_hour := null;
        end if;
        exit when v_step > 0;
        v_month := v_month + 1;
        v_day := 1;
    end loop;

    if v_hour is null then
        v_hour := position(B'1' in cron.hours) - 1;
        v_minute := null;
    end if;
    if v_minute is null then
        v_minute := position(B'1' in cron.minutes) - 1;
        v_second := null;
    end if;
    if v_second is null then
        v_second := position(B'1' in cron.seconds) - 1;
    end if;
    return make_timestamp(v_year, v_month, v_day + v_step - 1, v_hour, v_minute, v_second);
end;
$$;

comment on function underway._cron_match(underway.cron, timestamp) is
    'The first local time after a given one that matches; null when none does.';
