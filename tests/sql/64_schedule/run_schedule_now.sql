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
    'the task has all options of the schedule and is ready now, without jitter'
);

select is(
    (select headers - 'scheduled_at' from underway.task t join now on now.id = t.id),
    '{"trace": "1-2", "schedule": "hourly"}',
    'the headers of the task name the schedule'
);

select is(
    (select headers ->> 'scheduled_at' from underway.task t join now on now.id = t.id), '2030-01-01T13:10:05Z',
    'the scheduled time of the task is now'
);

-- the schedule

select results_eq(
    $$ select to_jsonb(s) - 'last_task' from underway.schedule_stats s $$,
    $$ select to_jsonb(before) - 'last_task' from before $$,
    'running a schedule now changes no column except last_task'
);

select is(
    (select last_task from underway.schedule_stats), (select id from now), 'the task is stored as the last task'
);

select is(underway.run_schedules(), 0, 'running a schedule now makes no time due');
select underway_test.stop_clock('2030-01-01 14:00:00+00');
select is(underway.run_schedules(), 1, 'the next time of the schedule comes as before');
select is(underway_test.times_of('hourly'), '{13:00,13:10,14:00}', 'each once');

-- several calls

select is(
    (select count(distinct underway.run_schedule_now('hourly')) from generate_series(1, 3)), 3::bigint,
    'each call enqueues one task'
);

-- while a time is due

select underway_test.advance_clock('1 hour');
select lives_ok($$ select underway.run_schedule_now('hourly') $$, 'a schedule can be run now while a time is due');
select is(underway.run_schedules(), 1, 'a time that was due still gives its task');

-- schedules that are paused, ended or not started

select underway.pause_schedule('hourly');
select lives_ok($$ select underway.run_schedule_now('hourly') $$, 'a paused schedule can be run now');
select isnt(
    (
        select paused_at from underway.schedule_stats where schedule = 'hourly'), null,
        'a paused schedule that is run now stays paused'
    
);

select underway.schedule('ended', 'email', '* * * * *', ends_at => '2030-01-01 15:01:00+00');
select underway.schedule('later', 'email', '* * * * *', starts_at => '2031-01-01 00:00:00+00');
select underway_test.advance_clock('1 hour');
select underway.run_schedules();
select lives_ok($$ select underway.run_schedule_now('ended') $$, 'a schedule that has ended can be run now');
select lives_ok($$ select underway.run_schedule_now('later') $$, 'a schedule that has not started can be run now');

-- an error is raised to the caller

select underway.schedule('lost', 'email', '* * * * *', overlap => 'skip');
select underway.drop_queue('email', force => true);
select throws_ok(
    $$ select underway.run_schedule_now('lost') $$, 'UW003', 'queue ''email'' does not exist',
    'a schedule whose queue was dropped is refused'
);
select results_eq(
    $$ select last_task, last_error from underway.schedule_stats where schedule = 'lost' $$,
    $$ values (null::bigint, null::jsonb) $$,
    'a refused run changes nothing'
);

-- refusals

select throws_ok(
    $$ select underway.run_schedule_now('nowhere') $$, 'UW009', 'schedule ''nowhere'' does not exist',
    'a schedule that does not exist is refused'
);
select throws_ok($$ select underway.run_schedule_now(null) $$, 'UW009', null, 'a null name is refused');

select is_empty(
    $$ select from underway.task where headers ->> 'schedule' = 'lost' $$, 'a refusal enqueues nothing'
);

select * from finish();
rollback;
