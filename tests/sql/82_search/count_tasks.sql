begin;
select plan(5);

select underway.create_queue('email');
select underway.enqueue_many('email', array_fill('1'::jsonb, array[20]));
select underway_test.finished_task('failed', 'email') from generate_series(1, 3);

select results_eq('select * from underway.count_tasks()', $$ values (23::bigint, false) $$, 'all tasks are counted');
select results_eq(
    $$ select * from underway.count_tasks('{"state": ["failed"]}') $$, $$ values (3::bigint, false) $$, 'a filter applies'
);
select results_eq(
    $$ select * from underway.count_tasks('{}', 10) $$, $$ values (10::bigint, true) $$, 'the count ends at max_count, and says so'
);
select throws_ok($$ select underway.count_tasks('{}', 0) $$, 'UW001', null, 'max_count is at least 1');
select throws_ok($$ select underway.count_tasks('{"x": 1}') $$, 'UW001', null, 'the filter is checked');

select * from finish();
rollback;
