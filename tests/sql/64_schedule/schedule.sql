-- a new schedule

begin;
select plan(31);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

-- without options

select is(
    underway.schedule('bare', 'email', '0 * * * *'), '2030-01-01 13:00:00+00',
    'a new schedule returns its next time'
);

select is(
    (select jsonb_strip_nulls(to_jsonb(s)) from underway.schedule s where name = 'bare'),
    jsonb_build_object(
        'name', 'bare', 'queue', 'email', 'cron', '0 * * * *', 'time_zone', 'UTC', 'input', '{}'::jsonb,
        'catch_up', 'once', 'catch_up_limit', 100, 'overlap', 'allow', 'jitter', '00:00:00'::interval,
        'next_at', '2030-01-01 13:00:00+00'::timestamptz, 'check_at', '2030-01-01 13:00:00+00'::timestamptz,
        'created_at', '2030-01-01 12:00:00+00'::timestamptz, 'updated_at', '2030-01-01 12:00:00+00'::timestamptz,
        'anchored_at', '2030-01-01 12:00:00+00'::timestamptz
    ),
    'a schedule without options has the time zone UTC, an empty input and catch_up once'
);

select is_empty('select from underway.task', 'a new schedule enqueues nothing');

-- with all arguments

select is(
    underway.schedule(
        'full', 'email', '30 9 * * *', 'Europe/Berlin', '{"to": "all"}', 'send_mail', 7, '1 hour',
        underway.retry_policy(max_attempts => 9, jitter => 0), '2 minutes', '20 seconds', '5 days',
        '{"trace": "1-2"}', 'all', 5, 'skip', '10 minutes', '2030-02-01 00:00:00+00', '2030-03-01 00:00:00+00', 'app'
    ),
    '2030-02-01 08:30:00+00',
    'a schedule with all arguments returns its next time'
);

select results_eq(
    $$
        select queue collate "default", cron, time_zone, input, job, priority, expires, retry_policy::text, timeout, heartbeat,
            retention, headers, catch_up, catch_up_limit, overlap, jitter, starts_at, ends_at, owner
        from underway.schedule where name = 'full'
    $$,
    $$ values (
        'email', '30 9 * * *', 'Europe/Berlin', '{"to": "all"}'::jsonb, 'send_mail', 7, interval '1 hour', '(9,00:00:01,00:01:00,2,0)',
        interval '2 minutes', interval '20 seconds', interval '5 days', '{"trace": "1-2"}'::jsonb, 'all', 5, 'skip',
        interval '10 minutes', '2030-02-01 00:00:00+00'::timestamptz, '2030-03-01 00:00:00+00'::timestamptz, 'app'
    ) $$,
    'a schedule stores all arguments'
);

-- the next time

select is(
    underway.schedule('times', 'email', given.cron, given.zone), given.next_at::timestamptz, given.description
)
from (values
    ('0 12 * * *', null, '2030-01-02 12:00:00+00', 'a time that is now does not count'),
    ('*/10 * * * * *', null, '2030-01-01 12:00:10+00', 'six fields begin with the second'),
    ('0 0 0 1 1 * 2032', null, '2032-01-01 00:00:00+00', 'seven fields end with the year'),
    ('@daily', null, '2030-01-02 00:00:00+00', 'an @name is an expression'),
    ('@daily', 'America/Los_Angeles', '2030-01-02 08:00:00+00', 'the expression matches local times of the zone'),
    ('@daily[America/Los_Angeles]', null, '2030-01-02 08:00:00+00', 'the zone may follow the expression in brackets'),
    ('@daily[Asia/Tokyo]', 'Asia/Tokyo', '2030-01-01 15:00:00+00', 'the same zone may be given in both places')
) as given (cron, zone, next_at, description);

select results_eq(
    $$ select cron, time_zone from underway.schedule_stats where schedule = 'times' $$,
    $$ values ('@daily', 'Asia/Tokyo') $$,
    'the expression and its zone are stored separately'
);

-- start and end

select is(
    underway.schedule(
        'bounds', 'email', '0 * * * *', starts_at => given.starts_at::timestamptz, ends_at => given.ends_at::timestamptz
    ),
    given.next_at::timestamptz, given.description
)
from (values
    ('2030-02-01 10:00:00+00', null, '2030-02-01 10:00:00+00', 'a time at the start counts'),
    ('2030-02-01 10:00:01+00', null, '2030-02-01 11:00:00+00', 'a time before the start does not count'),
    ('2029-02-01 10:00:00+00', null, '2030-01-01 13:00:00+00', 'a start in the past has no effect'),
    ('-infinity', 'infinity', '2030-01-01 13:00:00+00', 'a start of -infinity and an end of infinity have no effect'),
    (null, '2030-01-01 13:00:00+00', '2030-01-01 13:00:00+00', 'a time at the end counts'),
    (
        '2030-02-01 10:00:00+00', '2030-02-01 10:00:00+00', '2030-02-01 10:00:00+00',
        'start and end may be the same time'
    )
) as given (starts_at, ends_at, next_at, description);

-- names

select lives_ok(
    format('select underway.schedule(%L, %L, %L)', given.name, 'email', '@yearly'),
    format('a name of %s is accepted', given.description)
)
from (values
    ('a', 'one character'),
    (repeat('a', 128), '128 characters'),
    ('the nightly: mail/all (v2.1) "now"', 'blanks and signs'),
    ('Ünïcode ✓', 'any script'),
    ('''; drop table underway.schedule; --', 'text that looks like SQL')
) as given (name, description);

select underway.schedule('BARE', 'email', '@yearly');
select is(
    (select count(*) from underway.schedule_stats where schedule in ('bare', 'BARE')), 2::bigint,
    'names are case-sensitive'
);

-- bounds

select lives_ok(
    $$
        select underway.schedule(
            'low', 'email', '@yearly', catch_up => 'skip', catch_up_limit => 1, jitter => '0', timeout => '1 ms',
            heartbeat => '100 ms', retention => '0', priority => -100, input => 'null', headers => '{}'
        )
    $$,
    'the lowest settings are accepted'
);

select lives_ok(
    $$
        select underway.schedule(
            'high', 'email', '@yearly', catch_up_limit => 1000, jitter => '100 years', timeout => '100 years',
            heartbeat => '100 years', retention => '100 years', priority => 100,
            input => to_jsonb(repeat('a', 1048574))
        )
    $$,
    'the highest settings are accepted'
);

-- a queue with several schedules, a paused queue

select underway.pause_queue('email');

select lives_ok(
    $$ select underway.schedule('of a paused queue', 'email', '@yearly') $$,
    'a schedule may be created for a paused queue'
);

select is(
    (select count(*) from underway.schedule_stats where queue = 'email'), 13::bigint,
    'a queue may have several schedules'
);

-- the transaction of the caller

create function pg_temp.schedule_and_fail() returns void language plpgsql as $$
begin
    perform underway.schedule('rolled back', 'email', '@yearly');
    raise exception 'the caller fails';
end;
$$;

select throws_ok('select pg_temp.schedule_and_fail()', 'P0001', 'the caller fails', 'a caller fails');

select is_empty(
    $$ select from underway.schedule_stats where schedule = 'rolled back' $$, 'after a rollback there is no schedule'
);

select * from finish();
rollback;
