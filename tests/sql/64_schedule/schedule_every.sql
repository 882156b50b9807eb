-- a schedule with an interval counts from its start

begin;
select plan(39);

select underway.create_queue('email');
select underway.create_queue('invoice');

create function pg_temp.next_at(name text) returns timestamptz language sql as $$
    select s.next_at from underway.schedule_stats s where s.schedule = next_at.name
$$;

-- where the interval counts from

select underway_test.stop_clock('2030-01-01 12:00:00.75+00');

select is(
    underway.schedule('plain', 'email', '@every 90 minutes'), '2030-01-01 13:30:00+00',
    'without a start the first time is one interval after the schedule was created, in whole seconds'
);

select is(
    underway.schedule('zoned', 'email', '@every 1h30m[Europe/Berlin]'), '2030-01-01 13:30:00+00',
    'a time zone behind the interval is accepted and changes nothing'
);

select is(
    underway.schedule('later', 'email', '@every 90 minutes', starts_at => '2030-02-01 00:10:00+00'),
    '2030-02-01 00:10:00+00',
    'a start in the future is the first time'
);

select is(
    underway.schedule('fraction', 'email', '@every 90 minutes', starts_at => '2030-02-01 00:10:00.5+00'),
    '2030-02-01 00:10:01+00',
    'a start within a second counts from the next whole second'
);

select is(
    underway.schedule('earlier', 'email', '@every 90 minutes', starts_at => '2029-12-31 00:00:00+00'),
    '2030-01-01 13:30:00+00',
    'a start in the past is counted from'
);

select is(
    underway.schedule('offset', 'email', '@every 90 minutes', starts_at => '2029-12-31 00:10:00+00'),
    '2030-01-01 12:10:00+00',
    'the minutes of a start in the past are kept'
);

select is(
    underway.schedule('always', 'email', '@every 90 minutes', starts_at => '-infinity'), '2030-01-01 13:30:00+00',
    'a start of -infinity is no start'
);

select is(
    underway.schedule('ancient', 'email', '@every 1 day', starts_at => '4000-01-01 00:10:00+00 BC'),
    '2030-01-02 00:10:00+00',
    'a start may be long past'
);

select is(
    underway.schedule('ends', 'email', '@every 90 minutes', ends_at => '2030-01-01 13:30:00+00'),
    '2030-01-01 13:30:00+00',
    'a time at the very end counts'
);

select throws_ok(
    $$ select underway.schedule('never', 'email', '@every 90 minutes', ends_at => '2030-01-01 13:29:59+00') $$,
    'UW008', null,
    'an end before the first time is refused'
);

select throws_ok(
    $$ select underway.schedule('monthly', 'email', '@every 1 month') $$, 'UW008', null,
    'an interval of a month is refused'
);

-- no drift

select underway_test.stop_clock('2030-01-01 13:30:20+00');
select underway.run_schedules();
select is(pg_temp.next_at('plain'), '2030-01-01 15:00:00+00', 'a time that is run late does not move the next one');

select underway_test.stop_clock('2030-01-01 13:40:00+00');
select underway.run_schedule_now('plain');
select is(pg_temp.next_at('plain'), '2030-01-01 15:00:00+00', 'a task that is run now does not move the next time');

select underway.pause_schedule('plain');
select underway_test.stop_clock('2030-01-01 17:17:17+00');
select underway.resume_schedule('plain');
select is(pg_temp.next_at('plain'), '2030-01-01 18:00:00+00', 'a schedule keeps counting while it is paused');

-- edits of other settings keep the times

select is(
    underway.schedule('plain', 'email', '@every 90 minutes'), '2030-01-01 18:00:00+00',
    'a schedule that is declared again without a change keeps its times'
);

select underway_test.advance_clock('13 minutes');
select is(
    (select updated_at from underway.schedule_stats where schedule = 'plain'), '2030-01-01 12:00:00.75+00',
    'declaring a schedule again without a change is no update'
);

select is(
    underway.schedule(
        name => 'plain', queue => given.queue, cron => '@every 90 minutes', time_zone => given.zone,
        input => to_jsonb(given.number), catch_up => given.catch_up, overlap => given.overlap,
        jitter => given.jitter::interval, ends_at => given.ends_at::timestamptz
    ),
    '2030-01-01 18:00:00+00',
    format('a change of %s keeps the times', given.changed)
)
from (values
    (1, 'the input', 'email', 'UTC', 'once', 'allow', '0', null),
    (1, 'the queue', 'invoice', 'UTC', 'once', 'allow', '0', null),
    (1, 'catch_up', 'invoice', 'UTC', 'all', 'allow', '0', null),
    (1, 'overlap', 'invoice', 'UTC', 'all', 'skip', '0', null),
    (1, 'the jitter', 'invoice', 'UTC', 'all', 'skip', '1 hour', null),
    (1, 'the time zone', 'invoice', 'Asia/Kathmandu', 'all', 'skip', '1 hour', null),
    (1, 'the end', 'invoice', 'Asia/Kathmandu', 'all', 'skip', '1 hour', '2031-01-01 00:00:00+00')
) as given (number, changed, queue, zone, catch_up, overlap, jitter, ends_at);

-- edits of the times

select is(
    underway.schedule('plain', 'email', '@every 90 minutes', starts_at => '2030-01-01 12:10:00+00'),
    '2030-01-01 18:10:00+00',
    'a start that is added is counted from'
);

select is(
    underway.schedule('plain', 'email', '@every 90 minutes'), '2030-01-01 18:10:00+00',
    'a start that is taken away is still counted from'
);

select is(
    underway.schedule('plain', 'email', '@every 1 hour'), '2030-01-01 18:30:17+00',
    'another interval counts from the change'
);

select is(
    underway.schedule('later', 'email', '@every 1 hour', starts_at => '2030-02-01 00:10:00+00'),
    '2030-02-01 00:10:00+00',
    'another interval counts from the start if there is one'
);

select is(
    underway.schedule('later', 'email', '@every 1 hour'), '2030-01-01 18:10:00+00',
    'when a start in the future is taken away, the next time is less than an interval away'
);

select underway.unschedule('plain');
select is(
    underway.schedule('plain', 'email', '@every 90 minutes'), '2030-01-01 19:00:17+00',
    'a schedule that is removed and created again counts from its creation'
);

-- missed times

create function pg_temp.make_up(catch_up text) returns text[] language plpgsql as $$
begin
    perform underway_test.stop_clock('2030-03-01 00:00:00+00');
    perform underway.schedule(make_up.catch_up, 'email', '@every 90 minutes', catch_up => make_up.catch_up,
                              catch_up_limit => 3);
    perform underway_test.stop_clock('2030-03-02 00:10:00+00');
    perform underway.run_schedules();
    return underway_test.times_of(make_up.catch_up);
end;
$$;

select is(
    pg_temp.make_up(given.catch_up), given.times::text[],
    format('with catch_up %s the times after an outage are %s', given.catch_up, given.times)
)
from (values ('skip', '{}'), ('once', '{00:00}'), ('all', '{21:00,22:30,00:00}')) as given (catch_up, times);

select is(
    pg_temp.next_at(given.name), '2030-03-02 01:30:00+00',
    format('with catch_up %s the next time after an outage is a whole number of intervals from the start', given.name)
)
from unnest('{skip, once, all}'::text[]) as given (name);

-- overlap

select underway_test.stop_clock('2030-04-01 00:00:00+00');
select underway.schedule('overlaps', 'invoice', '@every 90 minutes', overlap => 'skip');
select underway_test.stop_clock('2030-04-01 01:30:00+00');
select underway.run_schedules();
select underway_test.stop_clock('2030-04-01 03:00:00+00');
select underway.run_schedules();
select is(underway_test.times_of('overlaps'), '{01:30}', 'a time is skipped while the previous task is live');
select is(pg_temp.next_at('overlaps'), '2030-04-01 04:30:00+00', 'a time that is skipped does not move the next one');

-- jitter

select underway_test.stop_clock('2030-05-01 00:00:00+00');
select underway.schedule('jitters', 'invoice', '@every 90 minutes', jitter => '80 minutes');
select underway_test.stop_clock('2030-05-01 01:30:00+00');
select underway.run_schedules();
select is(pg_temp.next_at('jitters'), '2030-05-01 03:00:00+00', 'jitter does not move the next time');

-- the clock of the server is set back

select underway_test.stop_clock('2030-06-02 00:00:00+00');
select underway.schedule('fast', 'invoice', '@every 90 minutes');
select underway_test.stop_clock('2030-06-01 00:10:00+00');
select is(
    underway.schedule('fast', 'invoice', '@every 90 minutes', ends_at => '2031-01-01 00:00:00+00'),
    '2030-06-01 01:30:00+00',
    'a schedule that was created while the clock was fast comes within an interval once its times are computed anew'
);

select * from finish();
rollback;
