begin;
select plan(20);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.schedule(
    'hourly', 'email', '0 * * * *', input => '{"to": "all"}', job => 'send_mail', priority => 3,
    timeout => '2 minutes', headers => '{"trace": "1-2"}', jitter => '10 minutes', catch_up => 'all'
);
select underway_test.advance_clock('1 hour');
select underway.run_schedules();
select underway_test.advance_clock('10 minutes 5.5 seconds');

create temporary table before on commit drop as select * from underway.schedule_stats;
create temporary table now on commit drop as select underway.run_schedule_now('hourly') as id;

-- the task

select results_eq(
    $$
        select t.queue collate "default", t.job, t.input, t.priority, t.timeout, t.state::text, t.ready_at
        from underway.task t join now on now.id = t.id
    $$,
    $$ values (
        'email', 'send_mail', '{"to": "all"}'::jsonb, 3, interval '2 minutes', 'pending',
        '2030-01-01 13:10:05.5+00'::timestamptz
    ) $$,
    'the task has all that the schedule says, and is ready now, whatever the jitter'
);

select is(
    (select headers - 'scheduled_at' from underway.task t join now on now.id = t.id),
    '{"trace": "1-2", "schedule": "hourly"}',
    'its headers name the schedule'
);

select is(
    (select headers ->> 'scheduled_at' from underway.task t join now on now.id = t.id), '2030-01-01T13:10:05Z',
    'its time is now'
);

-- the schedule

select results_eq(
    $$ select to_jsonb(s) - 'last_task' from underway.schedule_stats s $$,
    $$ select to_jsonb(before) - 'last_task' from before $$,
    'the times of the schedule, and all else, stay'
);

select is(
    (select last_task from underway.schedule_stats), (select id from now), 'the task is remembered as the last one'
);

select is(underway.run_schedules(), 0, 'no time is due through it');
select underway_test.stop_clock('2030-01-01 14:00:00+00');
select is(underway.run_schedules(), 1, 'its next time comes as ever');
select is(underway_test.times_of('hourly'), '{13:00,13:10,14:00}', 'each once');

-- as often as one likes

select is(
    (select count(distinct underway.run_schedule_now('hourly')) from generate_series(1, 3)), 3::bigint,
    'each call gives a task of its own'
);

-- while a time is due

select underway_test.advance_clock('1 hour');
select lives_ok($$ select underway.run_schedule_now('hourly') $$, 'it may be run while a time is due');
select is(underway.run_schedules(), 1, 'the time that was due comes beside');

-- paused, ended, not begun

select underway.pause_schedule('hourly');
select lives_ok($$ select underway.run_schedule_now('hourly') $$, 'a paused schedule is run');
select isnt(
    (select paused_at from underway.schedule_stats where schedule = 'hourly'), null, 'it stays paused'
);

select underway.schedule('ended', 'email', '* * * * *', ends_at => '2030-01-01 15:01:00+00');
select underway.schedule('later', 'email', '* * * * *', starts_at => '2031-01-01 00:00:00+00');
select underway_test.advance_clock('1 hour');
select underway.run_schedules();
select lives_ok($$ select underway.run_schedule_now('ended') $$, 'a schedule that has ended is run');
select lives_ok($$ select underway.run_schedule_now('later') $$, 'a schedule that has not begun is run');

-- its failure is the caller's

select underway.schedule('lost', 'email', '* * * * *', overlap => 'skip');
select underway.drop_queue('email', force => true);
select throws_ok(
    $$ select underway.run_schedule_now('lost') $$, 'UW003', 'queue ''email'' does not exist',
    'a schedule whose queue is gone is refused'
);
select results_eq(
    $$ select last_task, last_error from underway.schedule_stats where schedule = 'lost' $$,
    $$ values (null::bigint, null::jsonb) $$,
    'what was refused leaves no trace'
);

-- refusals

select throws_ok(
    $$ select underway.run_schedule_now('nowhere') $$, 'UW009', 'schedule ''nowhere'' does not exist',
    'a schedule that does not exist is refused'
);
select throws_ok($$ select underway.run_schedule_now(null) $$, 'UW009', null, 'no name is refused');

select is_empty(
    $$ select from underway.task where headers ->> 'schedule' = 'lost' $$, 'a refusal enqueues nothing'
);

select * from finish();
rollback;
