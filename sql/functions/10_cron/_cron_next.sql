-- _cron_next: the first time after a given one that a cron expression matches in a time zone.
--
-- When the clocks change, expressions follow the rules of Debian's cron. A repeating expression, whose minute or hour
-- begins with *, follows real time: a skipped local time does not come, a repeated one comes twice. Any other
-- expression is fixed: a skipped local time comes once, at the first moment after the gap; a repeated one comes the
-- first time only. @every counts real time from its anchor and ignores the time zone.
--
-- Writes: nothing.
-- Calls: _cron_match.
-- Raises: UW001 invalid_argument.

create or replace function underway._hours(length interval)
returns interval
language sql
immutable
begin atomic
    select make_interval(secs => date_part('epoch', _hours.length));
end;

comment on function underway._hours(interval) is
    'The same interval in hours, because the length of a day depends on the time zone of the session.';

create or replace function underway._clock_change(before timestamptz, after timestamptz, zone text)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Clocks change at a whole second: bisect.
    v_low    bigint := floor(extract(epoch from _clock_change.before));
    v_high   bigint := floor(extract(epoch from _clock_change.after));
    v_offset interval := to_timestamp(v_high) at time zone _clock_change.zone - to_timestamp(v_high) at time zone 'UTC';
    v_middle bigint;
begin
    while v_high - v_low > 1 loop
        v_middle := (v_low + v_high) / 2;
        if to_timestamp(v_middle) at time zone _clock_change.zone - to_timestamp(v_middle) at time zone 'UTC' = v_offset
        then
            v_high := v_middle;
        else
            v_low := v_middle;
        end if;
    end loop;
    return to_timestamp(v_high);
end;
$$;

comment on function underway._clock_change(timestamptz, timestamptz, text) is
    'The moment between two times at which a zone takes the offset that it has at the later one.';

create or replace function underway._cron_next(cron underway.cron, zone text, after timestamptz)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Not '1 day': its length depends on the time zone of the session (_hours).
    c_day    constant interval := '24 hours';
    c_second constant interval := '1 second';
    v_anchor bigint;
    v_wall   timestamp;
    v_from   timestamp;
    v_match  timestamp;
    v_again  timestamp;
    v_at     timestamptz;
    v_shift  interval;
    v_change timestamptz;
begin
    if (_cron_next.after between '0001-01-02 00:00:00+00' and '9900-01-01 00:00:00+00') is not true then
        raise exception using
            errcode = 'UW001',
            message = format('after is %s', coalesce(_cron_next.after::text, 'null')),
            hint = 'Give a time between the years 1 and 9900.';
    end if;

    if cron.every_seconds is not null then
        -- Whole intervals of real time from the anchor, on both sides of it; without an anchor, from the given time.
        v_anchor := floor(extract(epoch from coalesce(cron.anchored_at, _cron_next.after)));
        return to_timestamp(
            v_anchor
            + (floor((extract(epoch from _cron_next.after) - v_anchor) / cron.every_seconds) + 1) * cron.every_seconds
        );
    end if;

    v_wall := _cron_next.after at time zone _cron_next.zone;
    v_from := v_wall;

    if not cron.repeats then
        v_shift := underway._hours((_cron_next.after - c_day) at time zone _cron_next.zone + c_day - v_wall);
        if v_shift > '0' and (_cron_next.after - v_shift) at time zone _cron_next.zone = v_wall then
            -- The given time is the second pass of a repeated local time: every match up to its end has come already.
            v_change := underway._clock_change(_cron_next.after - v_shift, _cron_next.after, _cron_next.zone);
            v_from := v_change at time zone _cron_next.zone + v_shift - c_second;
        end if;
    end if;

    loop
        v_match := underway._cron_match(cron, v_from);
        exit when v_match is null;

        -- The server reads a skipped local time with the offset before the gap, so it maps back to a later local time.
        v_at := v_match at time zone _cron_next.zone;
        v_shift := underway._hours(v_at at time zone _cron_next.zone - v_match);
        if v_shift > '0' then
            v_change := underway._clock_change(v_at - v_shift, v_at, _cron_next.zone);
            if not cron.repeats then
                return v_change;
            end if;
            v_at := null;
            -- Every match may be skipped, year after year. Any other match would have come by now (_cron_match).
            exit when cron.years is null and v_match > v_wall + interval '41 years';
            v_from := v_change at time zone _cron_next.zone - c_second;
            continue;
        end if;

        -- The server reads a repeated local time as the second of the two: take the first if it is later than given.
        v_shift := underway._hours((v_at - c_day) at time zone _cron_next.zone + c_day - v_match);
        if v_shift > '0'
           and v_at - v_shift > _cron_next.after
           and (v_at - v_shift) at time zone _cron_next.zone = v_match
        then
            v_at := v_at - v_shift;
        end if;
        exit;
    end loop;

    if cron.repeats then
        v_shift := underway._hours(v_wall - ((_cron_next.after + c_day) at time zone _cron_next.zone - c_day));
        if v_shift > '0' and (_cron_next.after + v_shift) at time zone _cron_next.zone = v_wall then
            -- The given time is the first pass of a repeated local time: a match may come in the second pass.
            v_change := underway._clock_change(_cron_next.after, _cron_next.after + v_shift, _cron_next.zone);
            v_again := underway._cron_match(cron, v_change at time zone _cron_next.zone - c_second);
            if coalesce(v_at >= v_change and v_again < v_match, v_again is not null) then
                v_at := v_change + underway._hours(v_again - v_change at time zone _cron_next.zone);
            end if;
        end if;
    end if;

    return v_at;
end;
$$;

comment on function underway._cron_next(underway.cron, text, timestamptz) is
    'The first time after a given one that a cron expression matches in a time zone; null when none does.';
