begin;
select plan(9);

select underway.create_queue('email');
create temporary table task as select (underway.enqueue_many('email', array_fill('1'::jsonb, array[4]))) as ids;

select underway._add_dependencies(ids[3:4], ids[1:2] || ids[1:1], 'fail') from task;

select is(
    (select array_agg(t.state::text order by t.id) from underway.task t),
    '{pending,pending,waiting,waiting}', 'new tasks with dependencies wait'
);
select results_eq(
    'select f.task, f.event, f.fails_with_batch from underway.dependent f order by 1',
    $$ select unnest(ids[3:4]), 'success', true from task $$, 'new tasks wait for the success of the others'
);
select is((select array_agg((implicit, tasks)::text) from underway.batch), '{"(t,2)"}', 'the tasks to wait for form one implicit batch');
select is((select array_agg(m.task order by m.task) from underway.batch_task m), ids[1:2], 'the implicit batch has each of these tasks once') from task;

-- nothing to come after

select underway._add_dependencies(array[99], '{}', 'wait'), underway._add_dependencies(array[99], null, 'wait'), underway._add_dependencies('{}', ids, 'wait')
from task;
select is((select count(*) from underway.batch), 1::bigint, 'without new tasks or without dependencies no batch is created');

-- refusals

select throws_ok(
    $$ select underway._add_dependencies('{}', '{}', 'hope') $$, 'UW001', $$after_failure is 'hope'$$, 'an unknown after_failure is refused'
);
select throws_ok($$ select underway._add_dependencies('{}', '{}', null) $$, 'UW001', 'after_failure is NULL', 'and none');
select throws_ok(
    $$ select underway._add_dependencies(ids, array[1, null], 'wait') from task $$, 'UW001', 'after has a null among its ids',
    'a null among the dependencies is refused'
);
select throws_ok(
    $$ select underway._add_dependencies(ids, array[987654321], 'wait') from task $$, 'UW004', 'task 987654321 does not exist',
    'a dependency that does not exist is refused'
);

select * from finish();
rollback;
