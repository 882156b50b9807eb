-- an expression in a time zone

begin;
select plan(66);

create function pg_temp.next(cron text, zone text, after timestamptz) returns timestamptz language sql as $$
    select underway._cron_next(underway._read_cron(next.cron), next.zone, next.after)
$$;

select is(
    pg_temp.next(given.cron, given.zone, given.after::timestamptz), given.next::timestamptz,
    format('%s in %s after %s comes at %s', given.cron, given.zone, given.after, coalesce(given.next, 'no time'))
)
from (values
    -- strictly after, to the microsecond
    ('0 9 * * *', 'UTC', '2026-05-04 08:59:59.999999+00', '2026-05-04 09:00+00'),
    ('0 9 * * *', 'UTC', '2026-05-04 09:00+00', '2026-05-05 09:00+00'),
    ('0 9 * * *', 'UTC', '2026-05-04 09:00:00.000001+00', '2026-05-05 09:00+00'),
    ('* * * * * *', 'UTC', '2026-05-04 09:00:00.5+00', '2026-05-04 09:00:01+00'),
    ('* * * * * *', 'UTC', '1969-12-31 23:59:58.999999+00', '1969-12-31 23:59:59+00'),
    ('* * * * * *', 'UTC', '1969-12-31 23:59:59.5+00', '1970-01-01 00:00+00'),
    -- the zone determines the day
    ('0 9 * * *', 'Europe/Berlin', '2026-05-04 00:00+00', '2026-05-04 07:00+00'),
    ('0 9 * * *', 'Europe/Berlin', '2026-12-04 00:00+00', '2026-12-04 08:00+00'),
    ('0 9 * * *', 'America/Los_Angeles', '2026-05-04 15:59:59+00', '2026-05-04 16:00+00'),
    ('0 9 * * *', 'America/Los_Angeles', '2026-05-04 16:00+00', '2026-05-05 16:00+00'),
    ('0 0 * * mon', 'Pacific/Kiritimati', '2026-05-03 09:00+00', '2026-05-03 10:00+00'),
    ('0 0 * * mon', 'Etc/GMT+12', '2026-05-04 00:00+00', '2026-05-04 12:00+00'),
    ('0 0 1 * *', 'Asia/Kathmandu', '2026-05-04 00:00+00', '2026-05-31 18:15+00'),
    ('0 0 L * *', 'Asia/Tokyo', '2026-02-01 00:00+00', '2026-02-27 15:00+00'),
    ('0 0 0 1 1 * 2027', 'Asia/Tokyo', '2026-05-04 00:00+00', '2026-12-31 15:00+00'),
    -- a clock change at another hour has no effect: 09:00 comes once each day
    ('0 9 * * *', 'America/New_York', '2026-03-07 09:00-05', '2026-03-08 09:00-04'),
    ('0 9 * * *', 'America/New_York', '2026-10-31 09:00-04', '2026-11-01 09:00-05'),
    ('0 */6 * * *', 'America/New_York', '2026-11-01 00:00-04', '2026-11-01 06:00-05'),
    ('0 12 * * *', 'Etc/GMT-14', '1890-01-01 00:00+00', '1890-01-01 22:00+00'),
    -- leap years
    ('0 0 29 2 *', 'UTC', '2026-05-04 00:00+00', '2028-02-29 00:00+00'),
    ('0 0 29 2 *', 'UTC', '2096-02-29 00:00+00', '2104-02-29 00:00+00'),
    ('0 0 * 2 mon#5', 'UTC', '2026-05-04 00:00+00', '2044-02-29 00:00+00'),
    ('0 0 * 2 mon#5', 'UTC', '2044-02-29 00:00+00', '2072-02-29 00:00+00'),
    ('0 0 * 2 mon#5', 'UTC', '2072-02-29 00:00+00', '2112-02-29 00:00+00'),
    ('0 0 * 2 mon#5', 'Asia/Tokyo', '2072-02-29 00:00+00', '2112-02-28 15:00+00'),
    -- no time remains
    ('0 0 30 2 *', 'UTC', '2026-05-04 00:00+00', null),
    ('*/5 * 31 4 *', 'Europe/Berlin', '2026-05-04 00:00+00', null),
    ('0 0 0 1 1 * 2025', 'UTC', '2026-05-04 00:00+00', null),
    ('0 0 0 1 1 * 2026', 'UTC', '2026-01-01 00:00+00', null),
    ('* * * * * * 2099', 'Asia/Tokyo', '2099-12-31 15:00+00', null),
    ('* * * * * * 2099', 'Asia/Tokyo', '2099-12-31 14:59:58.5+00', '2099-12-31 14:59:59+00'),
    -- the bounds
    ('@daily', 'UTC', '0001-01-02 00:00+00', '0001-01-03 00:00+00'),
    ('* * * * * * 1970', 'UTC', '0001-06-01 00:00+00', '1970-01-01 00:00+00'),
    ('0 0 1 1 *', 'UTC', '9899-12-31 23:59:59.999999+00', '9900-01-01 00:00+00'),
    ('0 0 29 2 *', 'UTC', '9899-12-31 00:00+00', '9904-02-29 00:00+00')
) as given (cron, zone, after, next);

-- a repeating expression comes at each matching local time

create function pg_temp.shown(given_zone text, low timestamptz, high timestamptz, hours integer[], minutes integer[])
returns timestamptz[] language sql as $$
    select array_agg(at order by at)
    from generate_series(low + interval '1 minute', high, interval '1 minute') as at
    where date_part('hour', at at time zone given_zone)::integer = any (hours)
      and date_part('minute', at at time zone given_zone)::integer = any (minutes)
$$;

create function pg_temp.coming(given_cron text, given_zone text, low timestamptz, high timestamptz)
returns timestamptz[] language sql as $$
    with recursive coming (at) as (
        select pg_temp.next(given_cron, given_zone, low)
        union all
        select pg_temp.next(given_cron, given_zone, at) from coming where at <= high
    )
    select array_agg(at order by at) from coming where at <= high
$$;

select is(
    pg_temp.coming(rule.cron, change.zone, change.at - interval '36 hours', change.at + interval '36 hours'),
    pg_temp.shown(
        change.zone, change.at - interval '36 hours', change.at + interval '36 hours', rule.hours, rule.minutes
    ),
    format('%s comes at each matching local time of %s around %s', rule.cron, change.zone, change.at)
)
from (values
    ('America/New_York', '2026-03-08 07:00+00'::timestamptz),
    ('America/New_York', '2026-11-01 06:00+00'),
    ('Australia/Lord_Howe', '2024-04-06 15:00+00'),
    ('Australia/Lord_Howe', '2024-10-05 15:30+00'),
    ('Africa/Cairo', '2024-04-25 22:00+00'),
    ('Africa/Cairo', '2024-10-31 21:00+00')
) as change (zone, at)
cross join (values
    ('*/20 0-2,23 * * *', '{0,1,2,23}'::integer[], '{0,20,40}'::integer[]),
    ('45 * * * *', array(select * from generate_series(0, 23)), '{45}'),
    ('0,50 */2 * * *', array(select * from generate_series(0, 22, 2)), '{0,50}')
) as rule (cron, hours, minutes);

-- refusals

select throws_ok(
    format('select underway._cron_next(underway._read_cron(%L), %L, %L)', '@daily', given.zone, given.after),
    'UW001', null, format('after = %s in %s is refused', coalesce(given.after, 'null'), given.zone)
)
from (values
    ('UTC', null),
    ('UTC', 'infinity'),
    ('UTC', '-infinity'),
    ('UTC', '0001-12-31 00:00:00+00 BC'),
    ('UTC', '9901-01-01 00:00:00+00'),
    ('UTC', '294276-12-31 23:59:59.999999+00'),
    -- as local times of these zones they are out of the range of PostgreSQL
    ('Asia/Tokyo', '294276-12-31 23:59:59.999999+00'),
    ('America/New_York', '4714-11-24 00:00:00+00 BC')
) as given (zone, after);

select throws_ok(
    $$ select underway._cron_next(underway._read_cron('@daily'), 'UTC', null) $$, 'UW001', 'after is null',
    'the message names the argument and its value'
);

-- the moment of a change

select is(
    underway._clock_change(given.before::timestamptz, given.after::timestamptz, given.zone), given.change::timestamptz,
    format('between %s and %s the clocks of %s change at %s', given.before, given.after, given.zone, given.change)
)
from (values
    ('America/New_York', '2026-03-08 06:00+00', '2026-03-08 08:00+00', '2026-03-08 07:00+00'),
    ('America/New_York', '2026-03-08 06:59:59.999999+00', '2026-03-08 07:00+00', '2026-03-08 07:00+00'),
    ('Africa/Cairo', '2024-10-31 20:00:00.5+00', '2024-10-31 21:00:00.5+00', '2024-10-31 21:00+00'),
    ('Asia/Tehran', '2021-03-21 00:00+00', '2021-03-22 00:00+00', '2021-03-21 20:30+00')
) as given (zone, before, after, change);

select * from finish();
rollback;
