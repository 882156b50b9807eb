begin;
select plan(11);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.schedule(name, 'email', '* * * * *') from unnest('{gone, other}'::text[]) as name;
select underway_test.advance_clock('1 minute');
select underway.run_schedules();
select underway_test.advance_clock('1 minute');

select is(underway.unschedule('gone'), true, 'a schedule that was there says so');
select is(underway.unschedule('gone'), false, 'a schedule that is gone says so');
select is(underway.unschedule('nowhere'), false, 'a schedule that never was says so');
select is(underway.unschedule(null), false, 'no name is no schedule');

select is_empty(
    $$ select from underway.schedule_stats where schedule = 'gone' $$, 'a schedule that was removed is gone'
);

select is(underway.run_schedules(), 1, 'the other schedules stay');
select is(underway_test.times_of('other'), '{12:01,12:02}', 'they run at their times');
select is(underway_test.times_of('gone'), '{12:01}', 'tasks stay, and no more come, not even what was due');

select is(
    (select count(*) from underway.dequeue('email', 10) where headers ->> 'schedule' = 'gone'), 1::bigint,
    'a task that stays runs'
);

-- it can be made anew

select is(
    underway.schedule('gone', 'email', '* * * * *'), '2030-01-01 12:03:00+00',
    'a schedule that is made anew begins now'
);
select results_eq(
    $$ select last_at, last_task, created_at from underway.schedule_stats where schedule = 'gone' $$,
    $$ values (null::timestamptz, null::bigint, '2030-01-01 12:02:00+00'::timestamptz) $$,
    'it knows nothing of the one before'
);

select * from finish();
rollback;
