begin;
select plan(4);

select underway_test.ready_task();
create temporary table task as select underway.enqueue_many('email', '{1,2,3}') as ids;

select underway._block_tasks(ids[1:2], 7, 'success', true) from task;

select is(
    (select array_agg(t.state::text order by t.id) from underway.task t where t.id = any (ids)),
    '{waiting,waiting,pending}', 'the given tasks wait, and no other task does'
)
from task;

select results_eq(
    'select task, batch, event, fails_with_batch from underway.dependent order by task',
    $$ select unnest(ids[1:2]), 7::bigint, 'success', true from task $$,
    'each waiting task has a row with its batch and event'
);

select throws_ok(
    'select underway._block_tasks(ids[3:3], 7, ''luck'') from task', '23514', null,
    'an unknown event is refused'
);

select set_eq(
    'select id from underway.dequeue(''email'', 10)',
    $$ select t.id from underway.task t, task where t.queue = 'email' and not t.id = any (ids[1:2]) $$,
    'a waiting task is not claimed'
);

select * from finish();
rollback;
