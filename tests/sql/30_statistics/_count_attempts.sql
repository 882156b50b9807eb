begin;
select plan(3);

select underway_test.stop_clock();
create temporary table held on commit drop as select * from underway_test.held_task('email');
select underway_test.advance_clock('5 seconds');

select underway._count_attempts(array(select id from held), 'retried');

select results_eq(
    'select at, outcome, tasks from underway.uncounted', $$ values ('2030-01-01 12:00:05+00'::timestamptz, 'retried', 1) $$,
    'one row is inserted for attempts that were claimed together'
);
select results_eq(
    'select started_at, queue, job from underway.uncounted',
    $$ values ('2030-01-01 12:00:00+00'::timestamptz, 'email' collate "C", 'send_mail') $$,
    'it has the start, the queue and the job of the attempts'
);

select underway._count_attempts('{}', 'retried');
select is((select count(*) from underway.uncounted), 1::bigint, 'without attempts nothing is inserted');

select * from finish();
rollback;
