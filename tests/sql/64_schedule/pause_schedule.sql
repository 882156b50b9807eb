begin;
select plan(17);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.schedule(name, 'email', '* * * * *', catch_up => 'all') from unnest('{paused, other}'::text[]) as name;
select underway_test.advance_clock('30 seconds');

select is(underway.pause_schedule('paused'), true, 'pausing a running schedule returns true');

select is(
    (select paused_at from underway.schedule_stats where schedule = 'paused'), '2030-01-01 12:00:30+00',
    'a paused schedule has the time of the pause'
);

select underway_test.advance_clock('1 hour');

select is(underway.pause_schedule('paused'), false, 'pausing a paused schedule returns false');

select is(
    (select paused_at from underway.schedule_stats where schedule = 'paused'), '2030-01-01 12:00:30+00',
    'pausing again keeps the time of the first pause'
);

-- effects of a pause

select cmp_ok(underway.run_schedules(), '>', 0, 'other schedules run during the pause');
select is(underway_test.times_of('paused'), '{}', 'a paused schedule enqueues nothing');
select is(cardinality(underway_test.times_of('other')), 60, 'another schedule misses no time');

-- operations on a paused schedule

select lives_ok($$ select underway.run_schedule_now('paused') $$, 'a paused schedule can be run now');
select is(underway.run_schedules(), 0, 'running a paused schedule now does not resume it');

select lives_ok(
    $$ select underway.schedule('paused', 'email', '*/5 * * * *') $$, 'a paused schedule can be replaced'
);
select underway_test.advance_clock('1 hour');
select is(
    (select paused_at from underway.schedule_stats where schedule = 'paused'), '2030-01-01 12:00:30+00',
    'a paused schedule that is replaced stays paused'
);
select underway.run_schedules();
select is(cardinality(underway_test.times_of('paused')), 1, 'a paused schedule that was replaced enqueues nothing');

-- a pause that ends before the next time

select underway.schedule('daily', 'email', '0 0 * * *');
select underway.pause_schedule('daily');
select underway.resume_schedule('daily');
select is(
    (select next_at from underway.schedule_stats where schedule = 'daily'), '2030-01-02 00:00:00+00',
    'a pause between two times skips none'
);

-- a schedule that has ended

select underway.schedule('ended', 'email', '* * * * *', ends_at => '2030-01-01 14:02:00+00');
select underway_test.advance_clock('2 minutes');
select underway.run_schedules();
select is(underway.pause_schedule('ended'), true, 'a schedule that has ended can be paused');

-- refusals

select throws_ok(
    $$ select underway.pause_schedule('nowhere') $$, 'UW009', 'schedule ''nowhere'' does not exist',
    'a schedule that does not exist is refused'
);
select throws_ok($$ select underway.pause_schedule(null) $$, 'UW009', null, 'a null name is refused');
select is(
    (select paused_at from underway.schedule_stats where schedule = 'other'), null, 'other schedules are not paused'
);

select * from finish();
rollback;
