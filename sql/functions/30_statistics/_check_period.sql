-- _check_period: check the period and the step of a call, and choose a step where none is given.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._check_period(since timestamptz, until timestamptz, step interval default null)
returns interval
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_seconds double precision;
    v_step    double precision;
begin
    if (isfinite(_check_period.since) and isfinite(_check_period.until) and _check_period.since < _check_period.until)
        is not true then
        raise exception using
            errcode = 'UW001',
            message = format('%s to %s is no period', coalesce(_check_period.since::text, 'null'),
                coalesce(_check_period.until::text, 'null')),
            hint = 'Give a time as since and a later one as until.';
    end if;

    v_seconds := extract(epoch from _check_period.until) - extract(epoch from _check_period.since);
    v_step := extract(epoch from _check_period.step);
    if v_step is null then
        -- The smallest step that gives at most 150 rows.
        select min(nice.seconds)
        into v_step
        from unnest(array[
            60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 864000
        ]) as nice (seconds)
        where v_seconds / nice.seconds <= 150;
        v_step := coalesce(v_step, ceil(v_seconds / 150 / 86400) * 86400);
    end if;

    if v_step < 60 or mod(v_step::numeric, 60) <> 0 or v_seconds / v_step > 10000 then
        raise exception using
            errcode = 'UW001',
            message = format('a step of %s does not suit a period of %s', _check_period.step,
                make_interval(secs => v_seconds)),
            hint = 'Give a step of whole minutes that divides the period into at most 10000 parts, or leave it out.';
    end if;

    return make_interval(secs => v_step);
end;
$$;

comment on function underway._check_period(timestamptz, timestamptz, interval) is
    'The step of a period; where none is given, the smallest that gives at most 150 rows. Refuses a period without a'
    ' beginning or an end, and a step that is not of whole minutes.';
