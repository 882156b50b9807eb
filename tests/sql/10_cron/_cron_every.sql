-- the interval of an @every expression

begin;
select plan(68);

select is(
    underway._cron_every(given.cron), given.seconds::bigint,
    format('%L is %s seconds', given.cron, given.seconds)
)
from (values
    ('@every 90 minutes', 5400),
    ('@every 1h30m', 5400),
    ('@every 1h 30m', 5400),
    ('@every 1 hour 30 minutes', 5400),
    ('@every 1 hour, 30 minutes', 5400),
    ('@every 1.5 hours', 5400),
    ('@every 1.1 minutes', 66),
    ('@EVERY 1H30M', 5400),
    (E'  @every\t90   min  ', 5400),
    -- each unit
    ('@every 1s', 1), ('@every 2 sec', 2), ('@every 3 secs', 3), ('@every 1 second', 1), ('@every 5 seconds', 5),
    ('@every 1m', 60), ('@every 2 min', 120), ('@every 3 mins', 180), ('@every 1 minute', 60),
    ('@every 1h', 3600), ('@every 2 hr', 7200), ('@every 3 hrs', 10800), ('@every 1 hour', 3600),
    ('@every 2 hours', 7200),
    ('@every 1d', 86400), ('@every 1 day', 86400), ('@every 2 days', 172800),
    ('@every 1w', 604800), ('@every 1 week', 604800), ('@every 2 weeks', 1209600), ('@every 1w2d', 777600),
    -- an interval as PostgreSQL or Python prints it
    ('@every 01:30:00', 5400), ('@every 1:30', 5400), ('@every 1 day 02:00:00', 93600),
    ('@every 1 day, 2:00:00', 93600), ('@every 36:00:00', 129600),
    -- the longest
    ('@every 36525 days', 3155760000)
) as given (cron, seconds);

select throws_ok(
    format('select underway._cron_every(%L)', given.cron), 'UW008', null, format('%L is refused', given.cron)
)
from (values
    -- no interval
    ('@every'), ('@every '), ('@every hour'), ('@every minutes'), ('@every 90'), ('@every1'), ('@everyone'),
    -- no fixed length
    ('@every 1 month'), ('@every 1 mon'), ('@every 0.5 months'), ('@every 1 year'), ('@every 1y'),
    -- out of bounds
    ('@every 0 seconds'), ('@every 00:00:00'), ('@every 36525 days 1 second'), ('@every 9999999999 seconds'),
    ('@every -90 minutes'), ('@every 90 minutes ago'), ('@every infinity'),
    -- no whole number of seconds
    ('@every 1.5 seconds'), ('@every 500 ms'), ('@every 0.01 minutes'),
    -- no time of day
    ('@every 1:60'), ('@every 1:30:61'),
    -- other spellings
    ('@every PT90M'), ('@every 90 minutes * *'), ('@every 90 * * *'), ('@every ٣ minutes')
) as given (cron);

select throws_ok(
    $$ select underway._cron_every('@every 1 month') $$,
    'UW008', 'cron expression ''@every 1 month'': the interval is ''1 month''',
    'the message names the expression and its interval'
);

select matches(
    underway_test.hint_of($$ select underway._cron_every('@every 1 month') $$),
    '90 minutes, 1h30m or 01:30:00.* at least 1 second.*Months and years have no fixed length.*@monthly',
    'the hint shows spellings and bounds, and what to use for months'
);

set local IntervalStyle to 'sql_standard';

select is(
    underway._cron_every('@every 1 day 2 hours'), 93600::bigint,
    'an interval does not depend on the settings of the session'
);

reset IntervalStyle;

select is(
    underway._cron_every('@every ' || interval '1 day 02:03:04'), 93784::bigint,
    'an interval is accepted in the form in which PostgreSQL prints it'
);

select * from finish();
rollback;
