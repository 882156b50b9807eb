-- _read_cron: parse a cron expression.
--
-- Writes: nothing.
-- Calls: _cron_every.
-- Raises: UW008 invalid_cron.

create or replace function underway._refuse_cron(cron text, field text, items text[])
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'UW008',
        message = format(
            'cron expression %L: the %s is %L',
            _refuse_cron.cron, _refuse_cron.field, array_to_string(_refuse_cron.items, ',')
        ),
        hint = case _refuse_cron.field
            when 'second' then 'A second is 0-59'
            when 'minute' then 'A minute is 0-59'
            when 'hour' then 'An hour is 0-23'
            when 'day of month' then 'A day of month is 1-31, L (the last), LW (the last weekday), nW (the weekday'
                ' nearest to the n-th) or ?'
            when 'month' then 'A month is 1-12 or jan-dec'
            when 'day of week' then 'A day of week is 0-7 (0 and 7 are Sunday), sun-sat, n#k (the k-th of the month,'
                ' k is 1-5), nL or Ln (the last of the month) or ?'
            when 'year' then 'A year is 1970-2099'
        end || '. Allowed are *, a value, a range a-b with two ends, a step */s, a/s or a-b/s with s of at least 1,'
            ' and a list of these with commas.';
end;
$$;

comment on function underway._refuse_cron(text, text, text[]) is
    'Refuse a field of a cron expression and list the values that are allowed there.';

create or replace function underway._refuse_step(cron text, field text, items text[], step integer, first integer)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Months and years have no fixed length, so @every has no such unit.
    v_unit text := case _refuse_step.field
        when 'second' then 'seconds'
        when 'minute' then 'minutes'
        when 'hour' then 'hours'
        when 'day of month' then 'days'
        when 'day of week' then 'days'
    end;
begin
    raise exception using
        errcode = 'UW008',
        message = format(
            'cron expression %L: the %s is %L, whose step %s is larger than the range',
            _refuse_step.cron, _refuse_step.field, array_to_string(_refuse_step.items, ','), _refuse_step.step
        ),
        hint = format('Only %s would match: write %1$s for that one value', _refuse_step.first)
            || coalesce(', or ''@every ' || _refuse_step.step || ' ' || v_unit || ''' for a fixed interval', '') || '.';
end;
$$;

comment on function underway._refuse_step(text, text, text[], integer, integer) is
    'Refuse a step of a cron expression that is larger than its range, and name the alternatives.';

create or replace function underway._cron_value(value text, low integer, names text[])
returns integer
language sql
immutable
begin atomic
    select case
        when _cron_value.value ~ '^[0-9]{1,4}$' then _cron_value.value::integer
        else array_position(_cron_value.names, _cron_value.value) - 1 + _cron_value.low
    end;
end;

comment on function underway._cron_value(text, integer, text[]) is
    'A value of a field of a cron expression: a number or a name; null when it is neither.';

create or replace function underway._cron_field(
    cron text,
    field text,
    items text[],
    low integer,
    high integer,
    names text[] default null
)
returns bit varying
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_width integer := _cron_field.high - _cron_field.low + 1;
    v_bits  bit varying;
    v_item  text;
    v_ends  text;
    v_from  integer;
    v_to    integer;
    v_step  integer;
begin
    if _cron_field.items = '{*}' then
        return repeat('1', v_width)::bit varying;
    end if;

    -- A range that wraps around continues in a second copy of the field; at the end both copies are combined.
    v_bits := repeat('0', 2 * v_width)::bit varying;

    foreach v_item in array _cron_field.items loop
        if v_item !~ '^([*]|[[:alnum:]]+(-[[:alnum:]]+)?)(/[0-9]{1,9})?$' then
            perform underway._refuse_cron(_cron_field.cron, _cron_field.field, _cron_field.items);
        end if;

        v_ends := split_part(v_item, '/', 1);
        v_step := coalesce(nullif(split_part(v_item, '/', 2), ''), '1');
        if v_ends = '*' then
            v_from := _cron_field.low;
            v_to := _cron_field.high;
        elsif strpos(v_ends, '-') > 0 then
            v_from := underway._cron_value(split_part(v_ends, '-', 1), _cron_field.low, _cron_field.names);
            v_to := underway._cron_value(split_part(v_ends, '-', 2), _cron_field.low, _cron_field.names);
        else
            v_from := underway._cron_value(v_ends, _cron_field.low, _cron_field.names);
            v_to := case when v_ends = v_item then v_from else _cron_field.high end;
        end if;

        if _cron_field.field = 'day of week' then
            -- 7 is Sunday; 0-7 is the whole week.
            v_to := case when v_from = 0 and v_to = 7 then 6 when v_to = 7 then 0 else v_to end;
            v_from := case v_from when 7 then 0 else v_from end;
        end if;

        if v_from between _cron_field.low and _cron_field.high
           and v_to between _cron_field.low and _cron_field.high
           and v_step >= 1
        then
            v_to := v_to + case when v_to < v_from then v_width else 0 end;
            if v_step > greatest(v_to - v_from, 1) then
                perform underway._refuse_step(_cron_field.cron, _cron_field.field, _cron_field.items, v_step, v_from);
            elsif v_from = v_to then
                v_bits := set_bit(v_bits, v_from - _cron_field.low, 1);
            else
                v_bits := v_bits | rpad(
                    repeat('0', v_from - _cron_field.low)
                        || left(repeat(rpad('1', v_step, '0'), v_width), v_to - v_from + 1),
                    2 * v_width, '0'
                )::bit varying;
            end if;
        else
            perform underway._refuse_cron(_cron_field.cron, _cron_field.field, _cron_field.items);
        end if;
    end loop;

    return substring(v_bits for v_width) | substring(v_bits from v_width + 1);
end;
$$;

comment on function underway._cron_field(text, text, text[], integer, integer, text[]) is
    'Parse the items of one field of a cron expression, in lower case, into a row of bits.';

create or replace function underway._read_cron(cron text, anchored_at timestamptz default null)
returns underway.cron
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    c_weekdays constant text[] := '{sun,mon,tue,wed,thu,fri,sat}';
    c_months   constant text[] := '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}';
    -- In the C locale, because other locales convert FRI to something else than fri.
    v_text     text := lower(btrim(_read_cron.cron, E' \t\n\r\013\f') collate "C");
    v_fields   text[];
    v_days     text[];
    v_weekdays text[];
    v_item     text;
    v_parts    text[];
    v_read     underway.cron;
begin
    if starts_with(v_text, '@every') then
        v_read.every_seconds := underway._cron_every(_read_cron.cron);
        v_read.anchored_at := _read_cron.anchored_at;
        return v_read;
    end if;

    v_read.days_by_rule := '{}';
    v_fields := regexp_split_to_array(
        case v_text
            when '@yearly' then '0 0 1 1 *'
            when '@annually' then '0 0 1 1 *'
            when '@monthly' then '0 0 1 * *'
            when '@weekly' then '0 0 * * 0'
            when '@daily' then '0 0 * * *'
            when '@midnight' then '0 0 * * *'
            when '@hourly' then '0 * * * *'
            else v_text
        end,
        E'[ \t\n\r\013\f]+'
    );

    if cardinality(v_fields) not between 5 and 7 then
        raise exception using
            errcode = 'UW008',
            message = format(
                'cron expression %L has %s', _read_cron.cron,
                case cardinality(v_fields) when 1 then 'one field' else cardinality(v_fields) || ' fields' end
            ),
            hint = 'Give 5 fields (minute, hour, day of month, month, day of week), 6 (second first), 7 (second first,'
                ' year last), one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, or an interval'
                ' such as ''@every 90 minutes''.';
    end if;
    if cardinality(v_fields) = 5 then
        v_fields := '0'::text || v_fields;
    end if;

    -- ? in a day field means that the other day field decides.
    v_days := string_to_array(case v_fields[4] when '?' then '*' else v_fields[4] end, ',');
    v_weekdays := string_to_array(case v_fields[6] when '?' then '*' else v_fields[6] end, ',');

    -- Move the days that depend on the month, such as L, 15W and fri#2, to days_by_rule; bits can hold the others.
    if v_fields[4] ~ '[lw]' then
        foreach v_item in array v_days loop
            continue when v_item !~ '^(l|lw|([1-9]|[12][0-9]|3[01])w)$';
            v_read.days_by_rule := v_read.days_by_rule || case v_item when 'lw' then '31W' else upper(v_item) end;
            v_days := array_remove(v_days, v_item);
        end loop;
    end if;
    if v_fields[6] ~ '[l#]' then
        foreach v_item in array v_weekdays loop
            v_parts := regexp_match(
                case when v_item like 'l_%' then substring(v_item from 2) || 'l' else v_item end,
                '^([0-7]|' || array_to_string(c_weekdays, '|') || ')(#[1-5]|l)$'
            );
            continue when v_parts is null;
            v_read.days_by_rule := v_read.days_by_rule || (
                coalesce(array_position(c_weekdays, v_parts[1]) - 1, v_parts[1]::integer % 7) || upper(v_parts[2])
            );
            v_weekdays := array_remove(v_weekdays, v_item);
        end loop;
    end if;

    v_read.seconds := underway._cron_field(_read_cron.cron, 'second', string_to_array(v_fields[1], ','), 0, 59);
    v_read.minutes := underway._cron_field(_read_cron.cron, 'minute', string_to_array(v_fields[2], ','), 0, 59);
    v_read.hours := underway._cron_field(_read_cron.cron, 'hour', string_to_array(v_fields[3], ','), 0, 23);
    v_read.days := underway._cron_field(_read_cron.cron, 'day of month', v_days, 1, 31);
    v_read.months := underway._cron_field(_read_cron.cron, 'month', string_to_array(v_fields[5], ','), 1, 12, c_months);
    v_read.weekdays := underway._cron_field(_read_cron.cron, 'day of week', v_weekdays, 0, 6, c_weekdays);
    if v_fields[7] <> '*' then
        v_read.years := underway._cron_field(_read_cron.cron, 'year', string_to_array(v_fields[7], ','), 1970, 2099);
        -- With a * every year matches, also a year before 1970 or after 2099.
        v_read.years := case when v_fields[7] !~ '(^|,)[*](,|$)' then v_read.years end;
    end if;

    -- A day field restricts the days unless it contains a *. A field that lists all of its values counts as * if the
    -- other one is a step over *; beside any other field it counts as a restriction that every day satisfies.
    v_read.every_day := '*' = any (v_days)
        or position(B'0' in v_read.days) = 0 and strpos(v_fields[6], '*') > 0;
    v_read.every_weekday := '*' = any (v_weekdays)
        or position(B'0' in v_read.weekdays) = 0 and strpos(v_fields[4], '*') > 0;
    v_read.repeats := starts_with(v_fields[2], '*') or starts_with(v_fields[3], '*');

    return v_read;
end;
$$;

comment on function underway._read_cron(text, timestamptz) is
    'Parse a cron expression of 5, 6 or 7 fields, one of the @names, or @every with the anchor of its interval.';
