begin;
select plan(6);

create temporary table held on commit drop as select * from underway_test.held_task('email');
create temporary table ready on commit drop as select underway_test.ready_task('email') as id;
select underway_test.keyed_tasks('acme1 acme2 other1');
select underway.enqueue('email', run_at => '2060-01-01');
create temporary table first on commit drop as select underway.enqueue('email') as id;
create temporary table after on commit drop as select underway.enqueue('email', after => array(select id from first)) as id;
select underway_test.ready_task('other');

select results_eq(
    $$ select on_the_way, movable, running, dependent from underway.move_status('email', null, 7) $$,
    $$ values (0, 5::bigint, 1::bigint, 2::bigint) $$,
    'pending tasks can be moved, due or not; running ones, and those that wait or are waited for, cannot'
);
select results_eq(
    $$ select running_tasks, dependent_tasks from underway.move_status('email', null, 7) $$,
    $$ select array(select id from held), array(select id from first union all select id from after order by 1) $$,
    'the tasks that cannot be moved are named'
);
select results_eq(
    $$ select movable, running, dependent, last_task from underway.move_status('email', 'acme', 7) $$,
    $$ select 2::bigint, 0::bigint, 0::bigint, underway_test.named('acme2') $$,
    'of a concurrency key only its tasks count'
);

select underway.begin_move_batch(7, 'email', 'acme', 0, 1000000);
select results_eq(
    $$ select on_the_way, movable from underway.move_status('email', 'acme', 7) $$, 'values (2, 0::bigint)',
    'tasks of a batch that was not confirmed are on the way'
);
select is((underway.move_status('email', 'acme', 8)).on_the_way, 0, 'those to another shard do not count');
select throws_ok(
    $$ select underway.move_status('nowhere', null, 7) $$, 'UW003', null, 'a queue that does not exist is refused'
);

select * from finish();
rollback;
