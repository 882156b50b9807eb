-- @every counts whole intervals of real time from an anchor

begin;
select plan(29);

create function pg_temp.next(cron text, after timestamptz, anchored_at timestamptz, zone text default 'UTC')
returns timestamptz
language sql
as $$
    select underway._cron_next(underway._read_cron(next.cron, next.anchored_at), next.zone, next.after)
$$;

select is(
    pg_temp.next(given.cron, given.after::timestamptz, '2030-01-01 12:00:00+00'), given.next::timestamptz,
    format('%s from noon comes after %s at %s', given.cron, given.after, given.next)
)
from (values
    ('@every 90 minutes', '2030-01-01 12:00:00+00', '2030-01-01 13:30:00+00'),
    ('@every 90 minutes', '2030-01-01 12:00:00.000001+00', '2030-01-01 13:30:00+00'),
    ('@every 90 minutes', '2030-01-01 13:29:59.999999+00', '2030-01-01 13:30:00+00'),
    ('@every 90 minutes', '2030-01-01 13:30:00+00', '2030-01-01 15:00:00+00'),
    ('@every 1 second', '2030-01-01 12:00:00.999999+00', '2030-01-01 12:00:01+00'),
    ('@every 36525 days', '2030-01-01 12:00:00+00', '2130-01-02 12:00:00+00'),
    -- far away nothing drifts
    ('@every 7 seconds', '9899-12-31 23:59:59.999999+00', '9900-01-01 00:00:02+00'),
    -- before the anchor the times are the same intervals apart
    ('@every 90 minutes', '2030-01-01 11:59:59.999999+00', '2030-01-01 12:00:00+00'),
    ('@every 90 minutes', '2030-01-01 10:30:00+00', '2030-01-01 12:00:00+00'),
    ('@every 90 minutes', '2030-01-01 10:29:59+00', '2030-01-01 10:30:00+00'),
    ('@every 1 day', '1969-12-31 11:59:59.999999+00', '1969-12-31 12:00:00+00')
) as given (cron, after, next);

-- without an anchor

select is(
    pg_temp.next('@every 90 minutes', '2030-01-01 12:10:00.75+00', null), '2030-01-01 13:40:00+00',
    'without an anchor an interval counts from the whole second of the given time'
);

-- clock changes: New York, 8 March 2026, 02:00 becomes 03:00; 1 November 2026, 02:00 becomes 01:00

select is(
    pg_temp.next(given.cron, given.after::timestamptz, given.anchored_at::timestamptz, given.zone),
    given.next::timestamptz,
    format('%s in %s comes after %s at %s', given.cron, given.zone, given.after, given.next)
)
from (values
    ('@every 30 minutes', 'America/New_York', '2026-03-08 00:00-05', '2026-03-08 01:30-05', '2026-03-08 03:00-04'),
    ('@every 90 minutes', 'America/New_York', '2026-03-08 00:00-05', '2026-03-08 01:30-05', '2026-03-08 04:00-04'),
    ('@every 30 minutes', 'America/New_York', '2026-11-01 00:00-04', '2026-11-01 01:30-04', '2026-11-01 01:00-05'),
    ('@every 90 minutes', 'America/New_York', '2026-11-01 00:00-04', '2026-11-01 01:30-04', '2026-11-01 02:00-05'),
    -- a day is 24 hours, whatever the clocks show
    ('@every 1 day', 'America/New_York', '2026-03-07 09:00-05', '2026-03-07 09:00-05', '2026-03-08 10:00-04'),
    ('@every 1 day', 'America/New_York', '2026-10-31 09:00-04', '2026-10-31 09:00-04', '2026-11-01 08:00-05'),
    ('@every 1 day', 'Pacific/Apia', '2011-12-29 12:00-10', '2011-12-29 12:00-10', '2011-12-31 12:00+14')
) as given (cron, zone, anchored_at, after, next);

-- the last time in a range

select is(
    underway._cron_previous(
        underway._read_cron('@every 90 minutes', '2030-01-01 12:00:00+00'), 'UTC', '2030-01-01 12:00:00+00',
        given.until::timestamptz
    ),
    given.previous::timestamptz,
    format('the last time until %s is %s', given.until, coalesce(given.previous, 'none'))
)
from (values
    ('2030-01-01 13:29:59.999999+00', null),
    ('2030-01-01 13:30:00+00', '2030-01-01 13:30:00+00'),
    ('2031-01-01 12:00:00+00', '2031-01-01 12:00:00+00'),
    ('2031-01-01 11:59:59.999999+00', '2031-01-01 10:30:00+00')
) as given (until, previous);

-- the public functions

select is(
    underway.cron_next('@every 90 minutes', null, '2030-01-01 12:10:00+00'), '2030-01-01 13:40:00+00',
    'cron_next counts from the given time'
);

select is(
    array(select underway.cron_preview('@every 1h30m[Europe/Berlin]', null, '2030-01-01 12:10:00.5+00', 3)),
    '{2030-01-01 13:40:00+00, 2030-01-01 15:10:00+00, 2030-01-01 16:40:00+00}'::timestamptz[],
    'cron_preview counts from the given time; a time zone is accepted and changes nothing'
);

select throws_ok(
    $$ select underway.cron_next('@every 1 hour[Europe/Nowhere]', null, now()) $$, 'UW008', null,
    'a time zone that does not exist is refused beside an interval too'
);

select throws_ok(
    format('select underway.cron_next(''@every 1 hour'', null, %L)', given.after), 'UW001', null,
    format('a time of %s is refused beside an interval too', coalesce(given.after, 'null'))
)
from (values (null), ('infinity'), ('-infinity')) as given (after);

select * from finish();
rollback;
