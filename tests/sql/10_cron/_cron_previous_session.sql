-- the clocks of the session change nothing, on a day that they show twice neither

begin;
select plan(5);

-- Where the search for the last time does not end, this ends it.
set local statement_timeout = '10 s';

create function pg_temp.previous(cron text, zone text, after timestamptz, until timestamptz)
returns timestamptz language sql as $$
    select underway._cron_previous(underway._read_cron(previous.cron), previous.zone, previous.after, previous.until)
$$;

set local TimeZone to 'Europe/Berlin';

select is(
    pg_temp.previous('30 2 * * *', 'Europe/Berlin', '2026-03-20 00:00+01', '2026-03-30 02:29+02'),
    '2026-03-29 03:00+02', 'a session in Berlin, around a day of 23 hours there'
);

set local TimeZone to 'Pacific/Apia';

select is(
    pg_temp.previous('0 * * * *', 'UTC', '2011-12-01 00:00+00', '2012-01-05 12:30+00'), '2012-01-05 12:00+00',
    'a session in Apia, around a day that there was not'
);

select is(
    pg_temp.previous('0 12 * * *', 'Pacific/Apia', '2011-12-01 00:00-10', '2011-12-31 11:00+14'),
    '2011-12-31 00:00+14', 'and with the clocks of Apia'
);

-- America/Juneau had 18 October 1867 twice; where the data of the server begins later, these are days as any other.

set local TimeZone to 'America/Juneau';

select is(
    pg_temp.previous('0 0 * * *', 'UTC', '1867-10-01 00:00+00', '1867-10-30 12:00+00'), '1867-10-30 00:00+00',
    'a session in Juneau, around a day that came twice there'
);

select is(
    pg_temp.previous('0 10 * * *', 'UTC', '1867-10-16 20:57:41+00', '1867-10-19 18:57:41+00'),
    '1867-10-19 10:00+00', 'and where the stretch ends two days after it begins, on the same clocks a day later'
);

select * from finish();
rollback;
