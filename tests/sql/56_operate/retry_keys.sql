-- a task with keys begins anew

begin;
select plan(8);

select underway_test.stop_clock();
select underway.create_queue('letters');
select underway.create_queue('email', dead_letter_queue => 'letters');

create temp table task as
select underway.enqueue('email', unique_key => 'order', concurrency_key => 'customer', unique_for => '1 hour') as id;
select underway.fail(c.id, c.lease, '"x"', retryable => false) from underway.dequeue('email') c;

-- its key is taken

create temp table next as select underway.enqueue('email', unique_key => 'order') as id;

select throws_ok(
    format('select underway.retry(%s)', task.id), 'UW010',
    format('the key ''order'' of queue ''email'' is taken by task %s', next.id),
    'while another live task has its key it is refused, with the id of that one'
)
from task, next;

select is(underway_test.state_of(task.id), 'failed', 'a refused retry leaves the task in the history') from task;

select is((select count(*) from underway.task t where t.queue = 'letters'), 1::bigint, 'a refused retry leaves the dead letter');

-- its key is free

select underway.cancel(next.id) from next;
select underway.retry(task.id) from task;

select results_eq(
    $$ select t.id, t.unique_key::text collate "default", t.concurrency_key::text collate "default" from underway.task t $$,
    $$ select task.id, 'order', 'customer' from task $$, 'otherwise it has both its keys again'
);

select is(underway.enqueue('email', unique_key => 'order'), task.id, 'a retried task has its unique key') from task;

select throws_ok(
    format('select underway.retry(%s)', next.id), 'UW010', null, 'against one that is retried, too'
)
from next;

select underway.complete(c.id, c.lease) from underway.dequeue('email') c;

select is(
    underway.enqueue('email', unique_key => 'order'), task.id, 'a retried task that succeeds reserves its key for the time that was given'
)
from task;

-- a concurrency key only

create temp table plain as select underway.enqueue('email', concurrency_key => 'customer') as id;
select underway.cancel(plain.id) from plain;
select underway.retry(plain.id) from plain;

select is(i.concurrency_key, 'customer', 'a task without a unique key is retried with its other one')
from plain, underway.task_info(plain.id) i;

select * from finish();
rollback;
