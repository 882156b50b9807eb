-- the first time after a given one

begin;
select plan(46);

select is(
    underway.cron_next(given.cron, given.zone, given.after::timestamptz), given.next::timestamptz,
    format('%s with %s after %s is %s', given.cron, coalesce(given.zone, 'no zone'), given.after, given.next)
)
from (values
    -- the zone is UTC by default; it is an argument, in brackets, or both
    ('0 9 * * *', null, '2026-05-04 00:00+00', '2026-05-04 09:00+00'),
    ('0 9 * * *', 'UTC', '2026-05-04 00:00+00', '2026-05-04 09:00+00'),
    ('0 9 * * *', 'Europe/Berlin', '2026-05-04 00:00+00', '2026-05-04 07:00+00'),
    ('0 9 * * *', 'europe/berlin', '2026-05-04 00:00+00', '2026-05-04 07:00+00'),
    ('0 9 * * *[Europe/Berlin]', null, '2026-05-04 00:00+00', '2026-05-04 07:00+00'),
    ('0 9 * * * [Europe/Berlin]', null, '2026-05-04 00:00+00', '2026-05-04 07:00+00'),
    ('0 9 * * *[Europe/Berlin]', 'Europe/Berlin', '2026-05-04 00:00+00', '2026-05-04 07:00+00'),
    ('@daily[America/Los_Angeles]', null, '2026-05-04 00:00+00', '2026-05-04 07:00+00'),
    ('0 9 * * *', 'Etc/GMT+5', '2026-05-04 00:00+00', '2026-05-04 14:00+00'),
    -- the names; 4 May 2026 is a Monday
    ('@yearly', 'UTC', '2026-05-04 12:30:15+00', '2027-01-01 00:00+00'),
    ('@annually', 'UTC', '2026-05-04 12:30:15+00', '2027-01-01 00:00+00'),
    ('@monthly', 'UTC', '2026-05-04 12:30:15+00', '2026-06-01 00:00+00'),
    ('@weekly', 'UTC', '2026-05-04 12:30:15+00', '2026-05-10 00:00+00'),
    ('@daily', 'UTC', '2026-05-04 12:30:15+00', '2026-05-05 00:00+00'),
    ('@midnight', 'UTC', '2026-05-04 12:30:15+00', '2026-05-05 00:00+00'),
    ('@hourly', 'UTC', '2026-05-04 12:30:15+00', '2026-05-04 13:00+00'),
    -- 5, 6 and 7 fields
    ('*/15 9-17 * * mon-fri', 'UTC', '2026-05-08 17:45+00', '2026-05-11 09:00+00'),
    ('*/15 0 9 * * mon-fri', 'UTC', '2026-05-08 09:00:45+00', '2026-05-11 09:00+00'),
    ('0 0 0 1 1 ? 2030', 'UTC', '2026-05-04 00:00+00', '2030-01-01 00:00+00'),
    -- days that depend on the month
    ('0 9 L * ?', 'UTC', '2026-05-04 00:00+00', '2026-05-31 09:00+00'),
    ('0 9 LW * ?', 'UTC', '2026-05-04 00:00+00', '2026-05-29 09:00+00'),
    ('0 9 9W * ?', 'UTC', '2026-05-04 00:00+00', '2026-05-08 09:00+00'),
    ('0 9 ? * tue#3', 'UTC', '2026-05-04 00:00+00', '2026-05-19 09:00+00'),
    ('0 9 ? * friL', 'UTC', '2026-05-04 00:00+00', '2026-05-29 09:00+00'),
    -- either day field may match: the 13th and each Friday
    ('0 0 13 * fri', 'UTC', '2026-05-08 00:00+00', '2026-05-13 00:00+00'),
    ('0 0 13 * fri', 'UTC', '2026-05-13 00:00+00', '2026-05-15 00:00+00'),
    -- no time remains
    ('0 0 30 2 *', null, '2026-05-04 00:00+00', null),
    ('0 0 0 1 1 * 2025', null, '2026-05-04 00:00+00', null)
) as given (cron, zone, after, next);

-- refusals

select throws_ok(
    format('select underway.cron_next(%L, %L, %L)', given.cron, given.zone, given.after), given.code, null,
    format(
        '%s with %s after %s is refused', coalesce(quote_literal(given.cron), 'null'),
        coalesce(given.zone, 'no zone'), coalesce(given.after, 'null')
    )
)
from (values
    (null, 'UTC', '2026-05-04', 'UW008'),
    ('', 'UTC', '2026-05-04', 'UW008'),
    ('[UTC]', null, '2026-05-04', 'UW008'),
    ('@reboot', 'UTC', '2026-05-04', 'UW008'),
    ('60 * * * *', 'UTC', '2026-05-04', 'UW008'),
    ('60 * * * *[UTC]', null, '2026-05-04', 'UW008'),
    ('@daily', 'Europe/Nowhere', '2026-05-04', 'UW008'),
    ('@daily', 'CET', '2026-05-04', 'UW008'),
    ('@daily', 'UTC+2', '2026-05-04', 'UW008'),
    ('@daily[Europe/Berlin]', 'Europe/Paris', '2026-05-04', 'UW008'),
    ('@daily]', 'UTC', '2026-05-04', 'UW008'),
    ('@daily', 'UTC', null, 'UW001'),
    ('@daily', 'UTC', 'infinity', 'UW001'),
    ('@daily', 'UTC', '-infinity', 'UW001'),
    ('@daily', 'UTC', '0001-06-01 BC', 'UW001'),
    ('@daily', 'UTC', '10000-01-01', 'UW001')
) as given (cron, zone, after, code);

select throws_ok(
    $$ select underway.cron_next('0 25 * * *', 'UTC', now()) $$,
    'UW008', 'cron expression ''0 25 * * *'': the hour is ''25''',
    'the message names the expression, the field and its value'
);

select is(
    underway.cron_next('* * * * *', 'UTC', '2026-05-04 09:00:30+00'),
    underway.cron_next(cron => '* * * * *', zone => 'UTC', after => '2026-05-04 09:00:30+00'),
    'the arguments can be given by name'
);

select * from finish();
rollback;
