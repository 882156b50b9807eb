-- the next times, in order

begin;
select plan(31);

select is(
    array(select underway.cron_preview(given.cron, given.zone, given.after::timestamptz)), given.times::timestamptz[],
    format('the next five times of %s with %s are listed in order', given.cron, coalesce(given.zone, 'no zone'))
)
from (values
    (
        '0 9 * * mon-fri', null, '2026-05-07 09:00+00',
        '{2026-05-08 09:00+00, 2026-05-11 09:00+00, 2026-05-12 09:00+00, 2026-05-13 09:00+00, 2026-05-14 09:00+00}'
    ),
    (
        '0 0 L * *[Europe/Berlin]', null, '2026-01-31 12:00+01',
        '{2026-02-28 00:00+01, 2026-03-31 00:00+02, 2026-04-30 00:00+02, 2026-05-31 00:00+02, 2026-06-30 00:00+02}'
    ),
    (
        '*/30 1 * * *', 'America/New_York', '2026-11-01 00:00-04',
        '{2026-11-01 01:00-04, 2026-11-01 01:30-04, 2026-11-01 01:00-05, 2026-11-01 01:30-05, 2026-11-02 01:00-05}'
    ),
    (
        '0,30 1,2 * * *', 'America/New_York', '2026-03-08 01:15-05',
        '{2026-03-08 01:30-05, 2026-03-08 03:00-04, 2026-03-09 01:00-04, 2026-03-09 01:30-04, 2026-03-09 02:00-04}'
    ),
    ('0 0 0 29 2 * 2024-2030', 'UTC', '2020-01-01', '{2024-02-29 00:00+00, 2028-02-29 00:00+00}'),
    ('0 0 0 1 1 * 2025', 'UTC', '2026-01-01 00:00+00', '{}'),
    ('0 0 30 2 *', 'UTC', '2026-01-01 00:00+00', '{}')
) as given (cron, zone, after, times);

-- the count

select is(
    count(at), given.expected::bigint,
    format('a count of %s gives for %s %s times', given.count, given.cron, given.expected)
)
from (values
    ('@hourly', 0, 0),
    ('@hourly', 1, 1),
    ('@hourly', 5, 5),
    ('@hourly', 1000, 1000),
    ('0 0 0 1 1 * 2027-2036', 1000, 10),
    ('0 0 30 2 *', 1000, 0)
) as given (cron, count, expected)
left join lateral underway.cron_preview(given.cron, 'UTC', '2026-05-04 00:00+00', given.count) as at on true
group by given.cron, given.count, given.expected
order by given.cron, given.count;

select throws_ok(
    format('select underway.cron_preview(%L, %L, %L, %L::integer)', '@hourly', 'UTC', '2026-05-04', given.count),
    'UW001', format('count is %s', coalesce(given.count, 'null')),
    format('a count of %s is refused', coalesce(given.count, 'null'))
)
from (values (null), ('-1'), ('1001'), ('2147483647'), ('-2147483648')) as given (count);

-- the same times as cron_next

select results_eq(
    format('select underway.cron_preview(%L, %L, %L, 300)', given.cron, given.zone, given.after),
    format(
        $$
            with recursive coming (at) as (
                select underway.cron_next(%1$L, %2$L, %3$L)
                union all
                select underway.cron_next(%1$L, %2$L, at) from coming where at is not null
            )
            select at from coming where at is not null limit 300
        $$,
        given.cron, given.zone, given.after
    ),
    format('the times of %s in %s are those of repeated calls of cron_next', given.cron, given.zone)
)
from (values
    ('*/7 1-3 * * *', 'America/New_York', '2026-10-25 00:00:00.123456+00'),
    ('13,17 1-3 * * *', 'America/New_York', '2026-03-01 00:00+00'),
    ('0 0 LW * fri#2', 'Africa/Cairo', '2015-01-01 00:00+00'),
    ('30 59 23 L * ? 2026-2030', 'Asia/Tokyo', '2026-05-04 00:00+00')
) as given (cron, zone, after);

-- refusals

select throws_ok(
    format('select underway.cron_preview(%L, %L, %L)', given.cron, given.zone, given.after), given.code, null,
    format(
        '%s with %s after %s is refused', coalesce(quote_literal(given.cron), 'null'),
        coalesce(given.zone, 'no zone'), coalesce(given.after, 'null')
    )
)
from (values
    (null, 'UTC', '2026-05-04', 'UW008'),
    ('@reboot', 'UTC', '2026-05-04', 'UW008'),
    ('60 * * * *', 'UTC', '2026-05-04', 'UW008'),
    ('@daily', 'Europe/Nowhere', '2026-05-04', 'UW008'),
    ('@daily[Europe/Berlin]', 'Europe/Paris', '2026-05-04', 'UW008'),
    ('@daily', 'UTC', null, 'UW001'),
    ('@daily', 'UTC', 'infinity', 'UW001'),
    ('@daily', 'UTC', '10000-01-01', 'UW001')
) as given (cron, zone, after, code);

select throws_ok(
    $$ select underway.cron_preview('60 * * * *', 'UTC', '2026-05-04', 0) $$, 'UW008', null,
    'a wrong expression is refused also with a count of 0'
);

select * from finish();
rollback;
