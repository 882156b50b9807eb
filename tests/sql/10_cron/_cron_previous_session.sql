-- the time zone of the session does not matter, also on a day that it repeats

begin;
select plan(5);

-- End a search that does not end by itself.
set local statement_timeout = '10 s';

create function pg_temp.previous(cron text, zone text, after timestamptz, until timestamptz)
returns timestamptz language sql as $$
    select underway._cron_previous(underway._read_cron(previous.cron), previous.zone, previous.after, previous.until)
$$;

set local TimeZone to 'Europe/Berlin';

select is(
    pg_temp.previous('30 2 * * *', 'Europe/Berlin', '2026-03-20 00:00+01', '2026-03-30 02:29+02'),
    '2026-03-29 03:00+02', 'a session in Berlin finds the last time around a day of 23 hours'
);

set local TimeZone to 'Pacific/Apia';

select is(
    pg_temp.previous('0 * * * *', 'UTC', '2011-12-01 00:00+00', '2012-01-05 12:30+00'), '2012-01-05 12:00+00',
    'a session in Apia finds the last time around a skipped day'
);

select is(
    pg_temp.previous('0 12 * * *', 'Pacific/Apia', '2011-12-01 00:00-10', '2011-12-31 11:00+14'),
    '2011-12-31 00:00+14', 'a session in Apia finds the last time of its own zone around a skipped day'
);

-- America/Juneau had 18 October 1867 twice. If the server's data begins later, these are ordinary days.

set local TimeZone to 'America/Juneau';

select is(
    pg_temp.previous('0 0 * * *', 'UTC', '1867-10-01 00:00+00', '1867-10-30 12:00+00'), '1867-10-30 00:00+00',
    'a session in Juneau finds the last time around a repeated day'
);

select is(
    pg_temp.previous('0 10 * * *', 'UTC', '1867-10-16 20:57:41+00', '1867-10-19 18:57:41+00'),
    '1867-10-19 10:00+00',
    'a session in Juneau finds the last time in a range of two days that is one day on its clocks'
);

select * from finish();
rollback;
