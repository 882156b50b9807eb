begin;
select plan(19);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.schedule('minutely', 'email', '* * * * *', catch_up => 'all');

select is(underway.resume_schedule('minutely'), false, 'resuming a running schedule returns false');
select is(
    (select next_at from underway.schedule_stats where schedule = 'minutely'), '2030-01-01 12:01:00+00',
    'resuming a running schedule keeps its times'
);

-- times during the pause are skipped

select underway.pause_schedule('minutely');
select underway_test.advance_clock('10 minutes 30 seconds');
select is(underway.resume_schedule('minutely'), true, 'resuming a paused schedule returns true');
select is(underway.resume_schedule('minutely'), false, 'resuming a schedule twice returns false');
select is(
    (select next_at from underway.schedule_stats where schedule = 'minutely'), '2030-01-01 12:11:00+00',
    'a resumed schedule continues with its next time'
);
select is(
    (
        select paused_at from underway.schedule_stats where schedule = 'minutely'), null,
        'a resumed schedule is not paused'
    
);
select is(underway.run_schedules(), 0, 'times during the pause are not caught up');

select underway_test.advance_clock('30 seconds');
select is(underway.run_schedules(), 1, 'a resumed schedule runs at its next time');
select is(underway_test.times_of('minutely'), '{12:11}', 'the next time is the first one after the pause');

-- resuming a schedule that is due and not paused keeps the due time

select underway_test.advance_clock('1 minute');
select is(underway.resume_schedule('minutely'), false, 'resuming a schedule that is due and not paused returns false');
select is(underway.run_schedules(), 1, 'the due time of a schedule that was not paused is not skipped');

-- the clock is set back

select underway.pause_schedule('minutely');
select underway_test.advance_clock('-1 hour');
select underway.resume_schedule('minutely');
select is(
    (select next_at from underway.schedule_stats where schedule = 'minutely'), '2030-01-01 12:13:00+00',
    'when the clock was set back, the next time is after the last time that gave a task'
);

-- everything else

select results_eq(
    $$
        select cron, catch_up, last_at, last_task is not null, created_at, updated_at
        from underway.schedule_stats where schedule = 'minutely'
    $$,
    $$ values (
        '* * * * *', 'all', '2030-01-01 12:12:00+00'::timestamptz, true, '2030-01-01 12:00:00+00'::timestamptz,
        '2030-01-01 12:00:00+00'::timestamptz
    ) $$,
    'pausing and resuming change no other column'
);

-- start and end

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.schedule('later', 'email', '0 * * * *', starts_at => '2030-02-01 00:00:00+00');
select underway.pause_schedule('later');
select underway.resume_schedule('later');
select is(
    (select next_at from underway.schedule_stats where schedule = 'later'), '2030-02-01 00:00:00+00',
    'a resumed schedule still begins at its start'
);

select underway.schedule('ending', 'email', '0 * * * *', ends_at => '2030-01-01 13:00:00+00');
select underway.pause_schedule('ending');
select underway_test.advance_clock('2 hours');
select is(underway.resume_schedule('ending'), true, 'a schedule whose end came during the pause can be resumed');
select is(
    (
        select next_at from underway.schedule_stats where schedule = 'ending'), null,
        'a schedule whose end came during the pause has no next time'
    
);
select underway.run_schedules();
select is(underway_test.times_of('ending'), '{}', 'a schedule whose end came during the pause enqueues nothing');

-- refusals

select throws_ok(
    $$ select underway.resume_schedule('nowhere') $$, 'UW009', 'schedule ''nowhere'' does not exist',
    'a schedule that does not exist is refused'
);
select throws_ok($$ select underway.resume_schedule(null) $$, 'UW009', null, 'a null name is refused');

select * from finish();
rollback;
