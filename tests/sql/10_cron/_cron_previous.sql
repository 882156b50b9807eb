-- the last time in a range

begin;
select plan(39);

create function pg_temp.previous(cron text, zone text, after timestamptz, until timestamptz)
returns timestamptz language sql as $$
    select underway._cron_previous(underway._read_cron(previous.cron), previous.zone, previous.after, previous.until)
$$;

select is(
    pg_temp.previous(given.cron, given.zone, given.after::timestamptz, given.until::timestamptz),
    given.previous::timestamptz,
    format(
        'the last %s in %s after %s until %s is %s',
        given.cron, given.zone, given.after, given.until, coalesce(given.previous, 'none')
    )
)
from (values
    -- the end belongs to the range, the beginning does not
    ('0 9 * * *', 'UTC', '2026-05-01 00:00+00', '2026-05-04 09:00+00', '2026-05-04 09:00+00'),
    ('0 9 * * *', 'UTC', '2026-05-01 00:00+00', '2026-05-04 08:59:59.999999+00', '2026-05-03 09:00+00'),
    ('0 9 * * *', 'UTC', '2026-05-01 00:00+00', '2026-05-04 09:00:00.000001+00', '2026-05-04 09:00+00'),
    ('0 9 * * *', 'UTC', '2026-05-03 09:00+00', '2026-05-04 08:00+00', null),
    ('0 9 * * *', 'UTC', '2026-05-03 08:59:59.999999+00', '2026-05-04 08:00+00', '2026-05-03 09:00+00'),
    ('0 9 * * *', 'UTC', '2026-05-03 08:59:59.999999+00', '2026-05-03 09:00+00', '2026-05-03 09:00+00'),
    ('0 9 * * *', 'UTC', '2026-05-03 09:00+00', '2026-05-04 09:00+00', '2026-05-04 09:00+00'),
    -- an empty range
    ('0 9 * * *', 'UTC', '2026-05-04 09:00+00', '2026-05-04 09:00+00', null),
    ('0 9 * * *', 'UTC', '2026-05-05 00:00+00', '2026-05-04 00:00+00', null),
    ('* * * * * *', 'UTC', '2026-05-04 09:00:00.1+00', '2026-05-04 09:00:00.9+00', null),
    -- each second, each minute
    ('* * * * * *', 'UTC', '2026-05-04 09:00+00', '2026-05-04 09:00:01+00', '2026-05-04 09:00:01+00'),
    ('* * * * * *', 'UTC', '2026-05-04 09:00+00', '2026-05-04 09:00:02.999999+00', '2026-05-04 09:00:02+00'),
    ('* * * * * *', 'UTC', '2026-05-04 09:00:00.7+00', '2027-05-04 09:00:00.3+00', '2027-05-04 09:00:00+00'),
    ('* * * * *', 'UTC', '2000-01-01 00:00+00', '2026-05-04 09:17:42.5+00', '2026-05-04 09:17:00+00'),
    -- rare expressions
    ('0 0 29 2 *', 'UTC', '1890-01-01 00:00+00', '2027-12-31 00:00+00', '2024-02-29 00:00+00'),
    ('0 0 29 2 *', 'UTC', '1990-01-01 00:00+00', '2103-12-31 00:00+00', '2096-02-29 00:00+00'),
    ('0 0 * 2 mon#5', 'UTC', '2026-01-01 00:00+00', '2111-12-31 00:00+00', '2072-02-29 00:00+00'),
    ('0 0 * 2 mon#5', 'UTC', '2044-02-29 00:00+00', '2072-02-28 00:00+00', null),
    ('0 0 30 2 *', 'UTC', '1990-01-01 00:00+00', '2090-12-31 00:00+00', null),
    -- after the last time of the expression
    ('0 0 0 1 1 * 2026', 'UTC', '1990-01-01 00:00+00', '2090-12-31 00:00+00', '2026-01-01 00:00+00'),
    ('0 0 0 1 1 * 2026', 'UTC', '2026-01-01 00:00+00', '2090-12-31 00:00+00', null),
    -- many times first, then one long after
    ('0 * * 1 1 * 2020,2090', 'UTC', '2020-01-01 00:00+00', '2090-01-01 00:00+00', '2090-01-01 00:00+00'),
    ('0 * * 1 1 * 2020,2090', 'UTC', '2020-01-01 00:00+00', '2089-12-31 23:59:59+00', '2020-01-01 23:59+00'),
    -- clock changes
    ('30 2 * * *', 'America/New_York', '2026-03-01 00:00-05', '2026-03-08 03:15-04', '2026-03-08 03:00-04'),
    ('30 2 * * *', 'America/New_York', '2026-03-01 00:00-05', '2026-03-08 01:59-05', '2026-03-07 02:30-05'),
    ('*/30 2 * * *', 'America/New_York', '2026-03-01 00:00-05', '2026-03-08 03:15-04', '2026-03-07 02:30-05'),
    ('30 1 * * *', 'America/New_York', '2026-10-01 00:00-04', '2026-11-01 01:45-05', '2026-11-01 01:30-04'),
    ('30 1 * * *', 'America/New_York', '2026-11-01 01:30-04', '2026-11-01 01:45-05', null),
    ('30 * * * *', 'America/New_York', '2026-10-01 00:00-04', '2026-11-01 01:45-05', '2026-11-01 01:30-05'),
    ('30 * * * *', 'America/New_York', '2026-10-01 00:00-04', '2026-11-01 01:15-05', '2026-11-01 01:30-04'),
    ('0 12 * * *', 'Pacific/Apia', '2011-12-01 00:00-10', '2011-12-31 11:00+14', '2011-12-31 00:00+14')
) as given (cron, zone, after, until, previous);

-- it is the last of the times of _cron_next

create function pg_temp.coming(given_cron text, given_zone text, low timestamptz, count integer)
returns table (place integer, at timestamptz) language sql as $$
    with recursive coming (place, at) as (
        select 0, low
        union all
        select
            coming.place + 1, underway._cron_next(underway._read_cron(given_cron), given_zone, coming.at)
        from coming
        where coming.place < count
    )
    select coming.place, coming.at from coming
$$;

select is_empty(
    format(
        $$
            with coming as (select * from pg_temp.coming(%1$L, %2$L, %3$L, 200))
            select coming.at, later.at
            from coming
            join coming later on later.place = coming.place + 1
            where coming.place > 0
              and (
                  pg_temp.previous(%1$L, %2$L, %3$L, coming.at) is distinct from coming.at
                  or pg_temp.previous(%1$L, %2$L, %3$L, later.at - interval '1 microsecond') is distinct from coming.at
              )
        $$,
        given.cron, given.zone, given.after
    ),
    format('each time of %s in %s after %s is the last one until the next', given.cron, given.zone, given.after)
)
from (values
    ('*/7 1-3 * * *', 'America/New_York', '2026-03-01 00:00+00'),
    ('13,17 1-3 * * *', 'America/New_York', '2026-10-25 00:00+00'),
    ('*/10 1,2 * * *', 'Australia/Lord_Howe', '2024-04-01 00:00+00'),
    ('0 0 LW,1W * fri#2', 'Africa/Cairo', '2020-01-01 00:00+00'),
    ('* * * * * *', 'UTC', '1969-12-31 23:59:00.5+00'),
    ('0 0 29 2 *', 'Asia/Tokyo', '1700-01-01 00:00+00'),
    ('0 12 * * *', 'America/Juneau', '1867-10-01 00:00+00'),
    ('*/30 */6 * * *', 'America/Juneau', '1867-10-01 00:00+00')
) as given (cron, zone, after);

select * from finish();
rollback;
