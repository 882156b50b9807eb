-- the date line moves: a whole day is skipped or repeated

begin;
select plan(43);

create function pg_temp.next(cron text, zone text, after timestamptz) returns timestamptz language sql as $$
    select underway._cron_next(underway._read_cron(next.cron), next.zone, next.after)
$$;

-- Pacific/Apia has no 30 December 2011, a Friday: 00:00-10 is 00:00+14 of the 31st

select is(
    pg_temp.next(given.cron, 'Pacific/Apia', given.after::timestamptz), given.next::timestamptz,
    format('Apia: %s after %s comes at %s', given.cron, given.after, coalesce(given.next, 'no time'))
)
from (values
    -- fixed
    ('0 12 * * *', '2011-12-28 12:00-10', '2011-12-29 12:00-10'),
    ('0 12 * * *', '2011-12-29 12:00-10', '2011-12-31 00:00+14'),
    ('0 12 * * *', '2011-12-29 23:59:59.999999-10', '2011-12-31 00:00+14'),
    ('0 12 * * *', '2011-12-31 00:00+14', '2011-12-31 12:00+14'),
    ('@daily', '2011-12-29 00:00-10', '2011-12-31 00:00+14'),
    ('@daily', '2011-12-31 00:00+14', '2012-01-01 00:00+14'),
    ('59 23 * * *', '2011-12-29 23:59-10', '2011-12-31 00:00+14'),
    ('59 23 * * *', '2011-12-31 00:00+14', '2011-12-31 23:59+14'),
    ('0 0-23 * * *', '2011-12-29 23:00-10', '2011-12-31 00:00+14'),
    ('0 0-23 * * *', '2011-12-31 00:00+14', '2011-12-31 01:00+14'),
    ('0 9 30 * *', '2011-12-01 00:00-10', '2011-12-31 00:00+14'),
    ('0 9 * * fri', '2011-12-23 09:00-10', '2011-12-31 00:00+14'),
    ('0 9 * * fri', '2011-12-31 00:00+14', '2012-01-06 09:00+14'),
    ('0 9 * * fri,sat', '2011-12-31 00:00+14', '2011-12-31 09:00+14'),
    ('0 0 9 30 12 * 2011', '2011-12-31 00:00+14', null),
    -- repeating
    ('* * * * *', '2011-12-29 23:59-10', '2011-12-31 00:00+14'),
    ('30 * * * *', '2011-12-29 23:30-10', '2011-12-31 00:30+14'),
    ('*/30 12 * * *', '2011-12-29 12:30-10', '2011-12-31 12:00+14'),
    ('* 9 * * fri', '2011-12-23 09:59-10', '2012-01-06 09:00+14'),
    ('*/30 * 30 12 *', '2011-12-01 00:00-10', '2012-12-30 00:00+14'),
    ('0 * * 30 12 * 2011', '2011-12-01 00:00-10', null)
) as given (cron, after, next);

-- Pacific/Kwajalein has no 21 August 1993: 00:00-12 is 00:00+12 of the 22nd

select is(
    pg_temp.next(given.cron, 'Pacific/Kwajalein', given.after::timestamptz), given.next::timestamptz,
    format('Kwajalein: %s after %s comes at %s', given.cron, given.after, given.next)
)
from (values
    ('0 6 * * *', '1993-08-20 06:00-12', '1993-08-22 00:00+12'),
    ('0 6 * * *', '1993-08-22 00:00+12', '1993-08-22 06:00+12'),
    ('*/30 6 * * *', '1993-08-20 06:30-12', '1993-08-22 06:00+12')
) as given (cron, after, next);

-- Asia/Manila has no 31 December 1844, where the data of the server reaches back to it. Its offset to the second is
-- disputed, so that these are times of its clocks.

select case
    when timestamp '1844-12-31 12:00' at time zone 'Asia/Manila' at time zone 'Asia/Manila' = '1845-01-01 12:00' then
        is(
            pg_temp.next(given.cron, 'Asia/Manila', given.after::timestamp at time zone 'Asia/Manila')
                at time zone 'Asia/Manila',
            given.next::timestamp,
            format('Manila: %s after %s comes at %s', given.cron, given.after, given.next)
        )
    else skip('the data of the server begins later')
end
from (values
    ('0 12 * * *', '1844-12-30 12:00', '1845-01-01 00:00'),
    ('0 12 * * *', '1845-01-01 00:00', '1845-01-01 12:00'),
    ('0 0 * * *', '1844-12-30 00:00', '1845-01-01 00:00'),
    ('30 * * * *', '1844-12-30 23:30', '1845-01-01 00:30'),
    ('*/30 12 * * *', '1844-12-30 12:30', '1845-01-01 12:00')
) as given (cron, after, next);

-- America/Juneau had a day twice in 1867: 15:33:32 of 19 October was 15:33:32 of the 18th

select case
    when timestamptz '1867-10-18 18:00+15:02:19' at time zone 'America/Juneau' = '1867-10-18 18:00'
     and timestamptz '1867-10-18 18:00-08:57:41' at time zone 'America/Juneau' = '1867-10-18 18:00' then
        is(
            pg_temp.next(given.cron, 'America/Juneau', given.after::timestamptz), given.next::timestamptz,
            format('Juneau: %s after %s comes at %s', given.cron, given.after, given.next)
        )
    else skip('the data of the server begins later')
end
from (values
    -- fixed
    ('0 18 * * *', '1867-10-17 18:00+15:02:19', '1867-10-18 18:00+15:02:19'),
    ('0 18 * * *', '1867-10-18 18:00+15:02:19', '1867-10-19 18:00-08:57:41'),
    ('0 18 * * *', '1867-10-18 17:00-08:57:41', '1867-10-19 18:00-08:57:41'),
    ('0 6 * * *', '1867-10-18 18:00+15:02:19', '1867-10-19 06:00+15:02:19'),
    ('0 6 * * *', '1867-10-19 06:00+15:02:19', '1867-10-20 06:00-08:57:41'),
    ('0 6 * * *', '1867-10-18 15:33:32-08:57:41', '1867-10-20 06:00-08:57:41'),
    ('0 6 * * *', '1867-10-19 15:33:31.999999-08:57:41', '1867-10-20 06:00-08:57:41'),
    ('33,34 15 * * *', '1867-10-18 15:33+15:02:19', '1867-10-18 15:34+15:02:19'),
    -- repeating
    ('*/30 18 * * *', '1867-10-18 18:00+15:02:19', '1867-10-18 18:30+15:02:19'),
    ('*/30 18 * * *', '1867-10-18 18:30+15:02:19', '1867-10-18 18:00-08:57:41'),
    ('*/30 18 * * *', '1867-10-18 18:30-08:57:41', '1867-10-19 18:00-08:57:41'),
    ('* * * * *', '1867-10-19 15:33+15:02:19', '1867-10-18 15:34-08:57:41'),
    ('0 * * * *', '1867-10-19 15:00-08:57:41', '1867-10-19 16:00-08:57:41'),
    ('32 * * * * *', '1867-10-19 15:32:32+15:02:19', '1867-10-18 15:33:32-08:57:41')
) as given (cron, after, next);

select * from finish();
rollback;
