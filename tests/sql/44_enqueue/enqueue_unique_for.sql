-- keys that are taken for a while

begin;
select plan(27);

select underway_test.stop_clock();
select underway.create_queue('email');

create function pg_temp.enqueue(
    unique_key text default 'order', unique_for interval default '1 hour', on_conflict text default 'return'
)
returns underway.enqueued_task language sql as $$
    select underway.enqueue_unique(
        'email', '{1}', array[enqueue.unique_key], unique_for => enqueue.unique_for, on_conflict => enqueue.on_conflict
    )
$$;

create function pg_temp.run_all() returns void language sql as $$
    select underway.complete(c.id, c.lease) from underway.dequeue('email', 100) c
$$;

create temp table task as select (pg_temp.enqueue()).id;

select is(pg_temp.enqueue(), row(task.id, false, false)::underway.enqueued_task, 'a live task holds its key') from task;

select pg_temp.run_all();
select underway_test.advance_clock('59 minutes 59 seconds');

select is(
    pg_temp.enqueue(), row(task.id, false, false)::underway.enqueued_task,
    'a succeeded task keeps its key until unique_for, counted from the enqueue, is over'
)
from task;

select is(
    pg_temp.enqueue(on_conflict => 'replace'), row(task.id, false, false)::underway.enqueued_task,
    'a task that is not pending is not replaced'
)
from task;

select throws_ok(
    $$ select pg_temp.enqueue(on_conflict => 'error') $$, 'UW010',
    format('the key ''order'' of queue ''email'' is taken by task %s', task.id), 'on_conflict => ''error'' names the succeeded task'
)
from task;

select is(
    pg_temp.enqueue(unique_for => null), row(task.id, false, false)::underway.enqueued_task,
    'the key is taken for calls without unique_for, too'
)
from task;

select is(
    underway.enqueue('email', unique_key => 'order'), task.id, 'enqueue returns the id of the succeeded task'
)
from task;

select is_empty($$ select from underway.task $$, 'none of these calls inserted a task');

select ok((pg_temp.enqueue('other')).created, 'another key is free');

select underway_test.advance_clock('1 second');
create temp table second as select * from pg_temp.enqueue();

select ok(second.created, 'the key is free when unique_for is over') from second;

select is(
    (select h.expires_at from underway.unique_reservation h where h.unique_key = 'order'), '2030-01-01 14:00:00+00'::timestamptz,
    'the new task takes the key for its own unique_for'
);

-- the time is over and the task lives

select underway_test.advance_clock('2 hours');

select is(
    pg_temp.enqueue(), row(second.id, false, false)::underway.enqueued_task,
    'a live task holds its key even when unique_for is over'
)
from second;

select is(
    (select h.expires_at from underway.unique_reservation h where h.unique_key = 'order'), '2030-01-01 14:00:00+00'::timestamptz,
    'a conflict does not prolong unique_for'
);

select pg_temp.run_all();

select ok((pg_temp.enqueue(unique_for => null)).created, 'if unique_for is over, the key is free as soon as the task ends');

-- what failed or was cancelled holds nothing

select pg_temp.run_all();
create temp table cancelled as select (pg_temp.enqueue()).id;
select underway.cancel(cancelled.id) from cancelled;
create temp table third as select * from pg_temp.enqueue();

select ok(third.created, 'a cancelled task does not hold its key') from third;

select underway.fail(c.id, c.lease, '"x"', retryable => false) from underway.dequeue('email', 100) c;
create temp table fourth as select * from pg_temp.enqueue(unique_for => null);

select ok(fourth.created, 'a failed task does not hold its key') from fourth;

select pg_temp.run_all();

select ok(
    (pg_temp.enqueue(unique_for => null)).created, 'without unique_for a succeeded task does not hold its key'
);

select pg_temp.run_all();

-- a live one without a time

create temp table plain as select (pg_temp.enqueue('plain', null)).id;
select pg_temp.enqueue('plain');

select is_empty(
    $$ select from underway.unique_reservation h where h.unique_key = 'plain' $$,
    'a conflict with unique_for makes no reservation for a task without one'
);

-- replaced

create temp table first as select * from pg_temp.enqueue('debounced', on_conflict => 'replace');
select underway_test.advance_clock('30 minutes');

select is(
    pg_temp.enqueue('debounced', on_conflict => 'replace'), row(first.id, false, true)::underway.enqueued_task,
    'a pending task with unique_for is replaced'
)
from first;

select pg_temp.run_all();
select underway_test.advance_clock('30 minutes');

select ok(
    (pg_temp.enqueue('debounced')).created, 'unique_for of a replaced task counts from its creation'
);

-- in bulk

create temp table bulk as
select *
from underway.enqueue_unique('email', '{1,2,3,4}', array['x', null, 'y', 'x'], unique_for => '1 hour') with ordinality;

select results_eq(
    $$ select h.unique_key::text collate "default", h.task from underway.unique_reservation h where h.unique_key in ('x', 'y') order by 1 $$,
    $$ select k.key, b.id from (values (1, 'x'), (3, 'y')) as k (place, key) join bulk b on b.ordinality = k.place order by 1 $$,
    'each key of a call is reserved'
);

select pg_temp.run_all();

select results_eq(
    $$
        select e.id, e.created
        from underway.enqueue_unique('email', '{1,2}', '{x,y}', unique_for => '1 hour') with ordinality as e
    $$,
    $$ select b.id, false from bulk b where b.ordinality in (1, 3) order by b.ordinality $$,
    'the succeeded tasks of a call keep their keys'
);

-- the task is forgotten before its time is over

create temp table gone as select (pg_temp.enqueue('gone')).id;
select pg_temp.run_all();
select underway.delete_task(gone.id) from gone;

select is(
    pg_temp.enqueue('gone'), row(gone.id, false, false)::underway.enqueued_task,
    'a task that succeeded holds its key even when it is deleted'
)
from gone;

create temp table failed as select (pg_temp.enqueue('failed')).id;
select underway.fail(c.id, c.lease, '"x"', retryable => false) from underway.dequeue('email', 100) c;
select underway.delete_task(failed.id) from failed;

select ok((pg_temp.enqueue('failed')).created, 'one that failed does not, even when it is deleted');

select pg_temp.run_all();

-- a queue that is dropped

select ok((pg_temp.enqueue('last')).created, 'a key is taken');
select underway.drop_queue('email', force => true);

select is_empty($$ select from underway.unique_reservation $$, 'a queue that is dropped frees all its keys');

select underway.create_queue('email');

select ok((pg_temp.enqueue('last')).created, 'made anew, it has them to give');

select is(underway.enqueue('email', unique_key => 'last'), (select max(t.id) from underway.task t), 'once');

select * from finish();
rollback;
