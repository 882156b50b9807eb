-- tasks are delayed by a random time

begin;
select plan(12);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.schedule('spread ' || n, 'email', '0 * * * *', jitter => '10 minutes')
from generate_series(1, 200) as n;
select underway.schedule('exact', 'email', '0 * * * *');
select underway_test.advance_clock('1 hour');
select underway.run_schedules();

create temporary view spread as
select t.ready_at, t.headers from underway.task t where t.headers ->> 'schedule' like 'spread %';

select is((select count(*) from spread), 200::bigint, 'each schedule gives one task');

select is(
    (select ready_at from underway.task where headers ->> 'schedule' = 'exact'), '2030-01-01 13:00:00+00',
    'without jitter a task is ready at its time'
);

select is_empty(
    $$
        select ready_at from spread
        where ready_at < '2030-01-01 13:00:00+00' or ready_at >= '2030-01-01 13:10:00+00'
    $$,
    'with jitter a task is ready at its time or later, by less than the jitter'
);

select cmp_ok((select min(ready_at) from spread), '<', '2030-01-01 13:02:00+00'::timestamptz, 'some soon');
select cmp_ok((select max(ready_at) from spread), '>', '2030-01-01 13:08:00+00'::timestamptz, 'some late');
select cmp_ok(
    (select count(distinct ready_at) from spread), '>', 150::bigint,
    'tasks of the same time are ready at different times'
);

select is(
    (select array_agg(distinct headers ->> 'scheduled_at') from spread), '{2030-01-01T13:00:00Z}',
    'the time in the headers has no jitter'
);

select is(
    (
        select array_agg(distinct next_at) from underway.schedule_stats), '{2030-01-01 14:00:00+00}',
        'the next time of the schedule has no jitter'
    
);

select is(
    (select count(*) from underway.dequeue('email', 1000)),
    (select count(*) from underway.task where ready_at = '2030-01-01 13:00:00+00'),
    'a task is not claimed before it is ready'
);

-- a late call

delete from underway.task;
select underway_test.stop_clock('2030-01-01 14:00:30+00');
select underway.run_schedules();
select is_empty(
    $$
        select ready_at from spread
        where ready_at < '2030-01-01 14:00:30+00' or ready_at >= '2030-01-01 14:10:00+00'
    $$,
    'the jitter counts from the time of the schedule, not from the call'
);

-- a missed time

delete from underway.task;
select underway_test.stop_clock('2030-01-01 15:30:00+00');
select underway.run_schedules();
select is(
    (select array_agg(distinct ready_at) from spread), '{2030-01-01 15:30:00+00}',
    'a missed time whose jitter has passed is ready at once'
);
select is(
    (
        select array_agg(distinct headers ->> 'scheduled_at') from spread), '{2030-01-01T15:00:00Z}',
        'a missed time keeps its time in the headers'
    
);

select * from finish();
rollback;
