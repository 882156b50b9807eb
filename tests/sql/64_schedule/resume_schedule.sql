begin;
select plan(19);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.schedule('minutely', 'email', '* * * * *', catch_up => 'all');

select is(underway.resume_schedule('minutely'), false, 'a schedule that was not paused says so');
select is(
    (select next_at from underway.schedule_stats where schedule = 'minutely'), '2030-01-01 12:01:00+00',
    'its times stay'
);

-- times during the pause are left out

select underway.pause_schedule('minutely');
select underway_test.advance_clock('10 minutes 30 seconds');
select is(underway.resume_schedule('minutely'), true, 'a schedule that was paused says so');
select is(underway.resume_schedule('minutely'), false, 'it is resumed once');
select is(
    (select next_at from underway.schedule_stats where schedule = 'minutely'), '2030-01-01 12:11:00+00',
    'a resumed schedule goes on with its next time'
);
select is(
    (select paused_at from underway.schedule_stats where schedule = 'minutely'), null, 'it is not paused any more'
);
select is(underway.run_schedules(), 0, 'the times during the pause are not made up for');

select underway_test.advance_clock('30 seconds');
select is(underway.run_schedules(), 1, 'it runs at its next time');
select is(underway_test.times_of('minutely'), '{12:11}', 'the next time is the first after the pause');

-- due times do not stay from before: an unchanged schedule that is due keeps them

select underway_test.advance_clock('1 minute');
select is(underway.resume_schedule('minutely'), false, 'a schedule that is due and was not paused is not touched');
select is(underway.run_schedules(), 1, 'what it has due is not left out');

-- a clock that was set back does not give a time twice

select underway.pause_schedule('minutely');
select underway_test.advance_clock('-1 hour');
select underway.resume_schedule('minutely');
select is(
    (select next_at from underway.schedule_stats where schedule = 'minutely'), '2030-01-01 12:13:00+00',
    'the next time comes after the last that gave a task, whatever the clock says'
);

-- its definition and its past stay

select results_eq(
    $$
        select cron, catch_up, last_at, last_task is not null, created_at, updated_at
        from underway.schedule_stats where schedule = 'minutely'
    $$,
    $$ values (
        '* * * * *', 'all', '2030-01-01 12:12:00+00'::timestamptz, true, '2030-01-01 12:00:00+00'::timestamptz,
        '2030-01-01 12:00:00+00'::timestamptz
    ) $$,
    'a pause changes nothing else'
);

-- start and end

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.schedule('later', 'email', '0 * * * *', starts_at => '2030-02-01 00:00:00+00');
select underway.pause_schedule('later');
select underway.resume_schedule('later');
select is(
    (select next_at from underway.schedule_stats where schedule = 'later'), '2030-02-01 00:00:00+00',
    'a resumed schedule waits for its start'
);

select underway.schedule('ending', 'email', '0 * * * *', ends_at => '2030-01-01 13:00:00+00');
select underway.pause_schedule('ending');
select underway_test.advance_clock('2 hours');
select is(underway.resume_schedule('ending'), true, 'a schedule whose end came during the pause can be resumed');
select is(
    (select next_at from underway.schedule_stats where schedule = 'ending'), null, 'it has no time to come'
);
select underway.run_schedules();
select is(underway_test.times_of('ending'), '{}', 'it enqueues nothing');

-- refusals

select throws_ok(
    $$ select underway.resume_schedule('nowhere') $$, 'UW009', 'schedule ''nowhere'' does not exist',
    'a schedule that does not exist is refused'
);
select throws_ok($$ select underway.resume_schedule(null) $$, 'UW009', null, 'no name is refused');

select * from finish();
rollback;
