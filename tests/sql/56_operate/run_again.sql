begin;
select plan(7);

select underway.create_queue('email');
create temporary table original on commit drop as
select underway.enqueue(
    'email', '{"to": 1}', job => 'send', priority => 7, concurrency_key => 'c', headers => '{"a": 1}', timeout => '7 seconds'
) as id;
create temporary table copy on commit drop as select underway.run_again(id) as id from original;

select results_eq(
    'select queue = ''email'', job, input, priority, concurrency_key = ''c'', headers, timeout, attempt from underway.task t join copy using (id)',
    $$ values (true, 'send', '{"to": 1}'::jsonb, 7, true, '{"a": 1}'::jsonb, '7 seconds'::interval, 0) $$,
    'a copy of a live task has its queue, job, input, priority, keys, headers and policy'
);

create temporary table final on commit drop as select underway_test.finished_task('failed', 'email') as id;
create temporary table changed on commit drop as select underway.run_again(id, '{"to": 2}') as id from final;
select results_eq(
    'select input, state::text from underway.task t join changed using (id)', $$ values ('{"to": 2}'::jsonb, 'pending') $$,
    'a copy of a finished task may have another input'
);
select is(underway_test.state_of(id), 'failed', 'the task itself stays as it is') from final;

create temporary table keyed on commit drop as select underway.enqueue('email', unique_key => 'k') as id;
select throws_ok(format('select underway.run_again(%s)', id), 'UW010', null, 'a copy would have the unique key of a live task') from keyed;
select underway.cancel(id) from keyed;
select lives_ok(format('select underway.run_again(%s)', id), 'after its end the unique key is free') from keyed;

select throws_ok('select underway.run_again(0)', 'UW004', null, 'the task has to exist');
select underway_test.finished_task('succeeded', 'gone');
select underway.drop_queue('gone', force => true);
select throws_ok(
    (select format('select underway.run_again(%s)', id) from underway.task_list where queue = 'gone'), 'UW003', null,
    'the queue has to exist'
);

select * from finish();
rollback;
