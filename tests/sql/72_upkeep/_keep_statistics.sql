begin;
select plan(6);

select underway_test.stop_clock();
select underway_test.ready_task('email');
update underway.stat_position set counted_task = (select max(id) from underway.task);
select underway_test.no_tasks();
select underway_test.finished_task('succeeded', 'email');
select underway_test.finished_task('failed', 'email');
select underway_test.ready_task('email');

select is(underway._keep_statistics(), null, 'the chores are done');
select underway_test.count_statistics();
select results_eq(
    $$ select enqueued, started, succeeded, failed from underway.task_stat where step = 'total' and queue = 'email' $$,
    $$ values (3::bigint, 2::bigint, 1::bigint, 1::bigint) $$, 'what happened is counted'
);
select is((select count(*) from underway.queue_depth where queue = 'email'), 1::bigint, 'the depth is recorded');

-- an error

select underway_test.finished_task('succeeded', 'email');
alter table underway.task_stat add constraint nothing_can_be_counted check (succeeded < 2) not valid;
select is(left(underway._keep_statistics(), 5), '23514', 'an error is returned');
select matches(
    underway.maintain(at_once => true) ->> 'statistics_error', 'nothing_can_be_counted',
    'an error does not stop the other chores, and maintain says so'
);
alter table underway.task_stat drop constraint nothing_can_be_counted;
select underway_test.count_statistics();
select is(
    (select succeeded from underway.task_stat where step = 'total' and queue = 'email'), 2::bigint,
    'after the repair nothing is lost'
);

select * from finish();
rollback;
