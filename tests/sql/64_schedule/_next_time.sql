begin;
select plan(13);

-- the next time of a schedule of every hour after noon, in UTC

create function pg_temp.next_time(
    after timestamptz default '2030-01-01 12:00:00+00',
    starts_at timestamptz default null,
    ends_at timestamptz default null,
    cron text default '0 * * * *',
    zone text default 'UTC'
)
returns timestamptz
language sql
as $$
    select underway._next_time(
        underway._read_cron(next_time.cron), next_time.zone, next_time.after, next_time.starts_at, next_time.ends_at
    )
$$;

select is(pg_temp.next_time(), '2030-01-01 13:00:00+00', 'a time comes after the given one, never at it');

select is(
    pg_temp.next_time('2030-01-01 12:59:59.999999+00'), '2030-01-01 13:00:00+00',
    'it may come a microsecond later'
);

select is(
    pg_temp.next_time(cron => '0 9 * * *', zone => 'Asia/Tokyo'), '2030-01-02 00:00:00+00',
    'the zone decides what its clocks show'
);

-- the start

select is(
    pg_temp.next_time(starts_at => '2030-02-01 10:00:00+00'), '2030-02-01 10:00:00+00',
    'a time at the very start counts'
);

select is(
    pg_temp.next_time(starts_at => '2030-02-01 10:00:00.000001+00'), '2030-02-01 11:00:00+00',
    'a time before the start does not'
);

select is(
    pg_temp.next_time(starts_at => '2030-01-01 12:00:00+00'), '2030-01-01 13:00:00+00',
    'a start does not bring back the time after which the next is asked for'
);

select is(
    pg_temp.next_time(starts_at => '2020-01-01 00:00:00+00'), '2030-01-01 13:00:00+00',
    'a start in the past changes nothing'
);

-- the end

select is(
    pg_temp.next_time(ends_at => '2030-01-01 13:00:00+00'), '2030-01-01 13:00:00+00',
    'a time at the very end counts'
);

select is(
    pg_temp.next_time(ends_at => '2030-01-01 12:59:59.999999+00'), null,
    'after the end there is none'
);

select is(
    pg_temp.next_time(ends_at => 'infinity'), '2030-01-01 13:00:00+00', 'an end that never comes is none'
);

select is(
    pg_temp.next_time(starts_at => '2030-02-01 10:00:00+00', ends_at => '2030-02-01 10:00:00+00'),
    '2030-02-01 10:00:00+00',
    'start and end may name a single time'
);

-- none

select is(pg_temp.next_time(cron => '0 0 30 2 *'), null, 'what no calendar has does not come');

select throws_ok(
    $$ select pg_temp.next_time(starts_at => 'infinity') $$, 'UW001', null,
    'a start that never comes is refused'
);

select * from finish();
rollback;
