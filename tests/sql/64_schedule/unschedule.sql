begin;
select plan(11);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.schedule(name, 'email', '* * * * *') from unnest('{gone, other}'::text[]) as name;
select underway_test.advance_clock('1 minute');
select underway.run_schedules();
select underway_test.advance_clock('1 minute');

select is(underway.unschedule('gone'), true, 'removing a schedule returns true');
select is(underway.unschedule('gone'), false, 'removing a schedule twice returns false');
select is(underway.unschedule('nowhere'), false, 'removing a schedule that never existed returns false');
select is(underway.unschedule(null), false, 'removing a null name returns false');

select is_empty(
    $$ select from underway.schedule_stats where schedule = 'gone' $$, 'a schedule that was removed is not listed'
);

select is(underway.run_schedules(), 1, 'other schedules still run');
select is(underway_test.times_of('other'), '{12:01,12:02}', 'other schedules run at their times');
select is(
    underway_test.times_of('gone'), '{12:01}',
    'the tasks of a removed schedule stay, and its due time is skipped'
);

select is(
    (select count(*) from underway.dequeue('email', 10) where headers ->> 'schedule' = 'gone'), 1::bigint,
    'a task of a removed schedule can be claimed'
);

-- a removed schedule is created again

select is(
    underway.schedule('gone', 'email', '* * * * *'), '2030-01-01 12:03:00+00',
    'a schedule that is created again counts from now'
);
select results_eq(
    $$ select last_at, last_task, created_at from underway.schedule_stats where schedule = 'gone' $$,
    $$ values (null::timestamptz, null::bigint, '2030-01-01 12:02:00+00'::timestamptz) $$,
    'a schedule that is created again has no past'
);

select * from finish();
rollback;
