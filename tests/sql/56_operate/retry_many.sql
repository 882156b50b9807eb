begin;
select plan(5);

create temporary table failed on commit drop as select underway_test.finished_task('failed', 'email') as id;
create temporary table cancelled on commit drop as select underway_test.finished_task('cancelled', 'email') as id;
create temporary table succeeded on commit drop as select underway_test.finished_task('succeeded', 'email') as id;
create temporary table unique_one on commit drop as select underway.enqueue('email', unique_key => 'k') as id;
select underway.cancel(id) from unique_one;
select underway.enqueue('email', unique_key => 'k');
create temporary table dropped on commit drop as select underway_test.finished_task('failed', 'gone') as id;
select underway.drop_queue('gone', force => true);

select results_eq(
    $$
        select underway.retry_many(array(
            select id from failed union all select id from cancelled union all select id from succeeded
            union all select id from unique_one union all select id from dropped union all select 0
        ))
    $$,
    'select id from failed union all select id from cancelled',
    'failed and cancelled tasks are retried; one whose key is taken or whose queue was dropped is left out'
);
select is(underway_test.state_of(id), 'pending', 'a failed task is pending again') from failed;
select is(underway_test.state_of(id), 'cancelled', 'a task whose key is taken stays') from unique_one;
select is(underway_test.state_of(id), 'failed', 'a task whose queue was dropped stays') from dropped;
select is_empty($$ select underway.retry_many('{}') $$, 'no tasks can be retried');

select * from finish();
rollback;
