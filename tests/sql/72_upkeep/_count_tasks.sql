begin;
select plan(2);

select underway_test.stop_clock();
select underway.create_queue('email', heartbeat => '10 seconds');
select underway_test.held_task('email');
select underway_test.advance_clock('1 minute');
select underway_test.held_task('email');

select is(
    (select c.in_progress from underway._count_tasks(leases_from => '-infinity') c), 2::bigint,
    'all running tasks are counted, those with a lapsed lease too'
);
select is(
    (select c.in_progress from underway._count_tasks(leases_from => underway._clock() - interval '1 second') c), 1::bigint,
    'a lease that lapsed before the given time is not read'
);

select * from finish();
rollback;
