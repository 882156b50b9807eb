begin;
select plan(13);

-- the next time of an hourly schedule after noon, in UTC

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

select is(pg_temp.next_time(), '2030-01-01 13:00:00+00', 'the next time is after the given time, never at it');

select is(
    pg_temp.next_time('2030-01-01 12:59:59.999999+00'), '2030-01-01 13:00:00+00',
    'the next time may be a microsecond later'
);

select is(
    pg_temp.next_time(cron => '0 9 * * *', zone => 'Asia/Tokyo'), '2030-01-02 00:00:00+00',
    'the expression matches local times of the zone'
);

-- the start

select is(
    pg_temp.next_time(starts_at => '2030-02-01 10:00:00+00'), '2030-02-01 10:00:00+00',
    'a time at the start counts'
);

select is(
    pg_temp.next_time(starts_at => '2030-02-01 10:00:00.000001+00'), '2030-02-01 11:00:00+00',
    'a time before the start does not count'
);

select is(
    pg_temp.next_time(starts_at => '2030-01-01 12:00:00+00'), '2030-01-01 13:00:00+00',
    'with a start at the given time the next time is still after it'
);

select is(
    pg_temp.next_time(starts_at => '2020-01-01 00:00:00+00'), '2030-01-01 13:00:00+00',
    'a start in the past has no effect'
);

-- the end

select is(
    pg_temp.next_time(ends_at => '2030-01-01 13:00:00+00'), '2030-01-01 13:00:00+00',
    'a time at the end counts'
);

select is(
    pg_temp.next_time(ends_at => '2030-01-01 12:59:59.999999+00'), null,
    'there is no time after the end'
);

select is(
    pg_temp.next_time(ends_at => 'infinity'), '2030-01-01 13:00:00+00', 'an infinite end has no effect'
);

select is(
    pg_temp.next_time(starts_at => '2030-02-01 10:00:00+00', ends_at => '2030-02-01 10:00:00+00'),
    '2030-02-01 10:00:00+00',
    'start and end may be the same time'
);

-- none

select is(pg_temp.next_time(cron => '0 0 30 2 *'), null, 'a date that does not exist has no next time');

select throws_ok(
    $$ select pg_temp.next_time(starts_at => 'infinity') $$, 'UW001', null,
    'an infinite start is refused'
);

select * from finish();
rollback;
