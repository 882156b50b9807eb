-- dead letters of tasks with keys

begin;
select plan(9);

select underway_test.stop_clock();
select underway.create_queue('letters');
select underway.create_queue('email', dead_letter_queue => 'letters', max_running_per_key => 3);

create temp table failed as
select given.key, underway.enqueue('email', to_jsonb(given.key), unique_key => given.key, concurrency_key => 'customer') as id
from unnest('{c,a,b}'::text[]) as given (key);
select underway.fail(c.id, c.lease, '"x"', retryable => false) from underway.dequeue('email', 10) c;

create temp table next as select underway.enqueue('email', '"next"', unique_key => 'a') as id;

select is(underway.redrive('letters'), 2, 'the dead letters go whose keys are free');

select results_eq(
    $$
        select t.id, t.unique_key::text collate "default", t.concurrency_key::text collate "default"
        from underway.task t
        where t.queue = 'email' and t.input <> '"next"'
        order by t.id
    $$,
    $$ select failed.id, failed.key, 'customer' from failed where failed.key <> 'a' order by failed.id $$,
    'redriven tasks have both their keys again'
);

select is(underway_test.state_of(failed.id), 'failed', 'the task whose key is taken is where it was')
from failed where failed.key = 'a';

select results_eq(
    $$ select (t.dead_letter ->> 'task')::bigint, t.state::text from underway.task t where t.queue = 'letters' $$,
    $$ select failed.id, 'pending' from failed where failed.key = 'a' $$, 'a letter whose unique key is taken stays'
);

select is(i.errors #>> '{0,message}', 'x', 'the task of a letter that stays keeps its errors') from failed, underway.task_info(failed.id) i where failed.key = 'a';

select is(underway.redrive('letters'), 0, 'a letter stays as long as the key is taken');

select underway.cancel(next.id) from next;

select is(underway.redrive('letters'), 1, 'a letter is redriven when the key is free');

select is(i.unique_key, 'a', 'the redriven task has the unique key') from failed, underway.task_info(failed.id) i where failed.key = 'a';

-- the task has left the history

select underway_test.no_tasks();
create temp table old as select underway.enqueue('email', unique_key => 'old', concurrency_key => 'customer') as id;
select underway.fail(c.id, c.lease, '"x"', retryable => false) from underway.dequeue('email') c;
select underway.delete_task(old.id) from old;
select underway.redrive('letters');

select results_eq(
    $$
        select t.id, t.unique_key::text collate "default", t.concurrency_key::text collate "default" from underway.task t
    $$,
    $$ select old.id, 'old', 'customer' from old $$,
    'a task that the history has forgotten comes back with its keys, too'
);

select * from finish();
rollback;
