-- a pending task is replaced

begin;
select plan(27);

select underway_test.stop_clock();
select underway.create_queue('email');

create function pg_temp.replace(input jsonb, unique_key text default 'order', delay interval default null)
returns underway.enqueued_task language sql as $$
    select underway.enqueue_unique(
        'email', array[replace.input], array[replace.unique_key], delay => replace.delay, on_conflict => 'replace'
    )
$$;

create temp table task as
select underway.enqueue(
    'email', '"first"', job => 'send', delay => '1 minute', priority => 1, unique_key => 'order', headers => '{"a": 1}',
    retry_policy => underway.retry_policy(2), timeout => '1 minute', heartbeat => '1 minute', retention => '1 day',
    concurrency_key => 'a'
) as id;

create temp table original as select t.* from underway.task t;

-- all that the new call says, and nothing of the old one

select underway_test.advance_clock('30 seconds');

select is(
    underway.enqueue_unique(
        'email', '{2}', '{order}', job => 'mail', delay => '10 minutes', priority => 2, headers => '{"b": 2}',
        retry_policy => underway.retry_policy(3), timeout => '2 minutes', heartbeat => '2 minutes', retention => '2 days',
        concurrency_key => 'b', on_conflict => 'replace'
    ),
    row(task.id, false, true)::underway.enqueued_task,
    'a pending task is replaced under its id'
)
from task;

select is(
    (select to_jsonb(t) from underway.task t),
    (
        select to_jsonb(original) || jsonb_build_object(
            'input', 2, 'job', 'mail', 'ready_at', '2030-01-01 12:10:30+00'::timestamptz, 'priority', 2,
            'headers', '{"b": 2}'::jsonb, 'retry_policy', underway.retry_policy(3), 'timeout', '00:02:00',
            'heartbeat', '00:02:00', 'retention', '2 days', 'concurrency_key', 'b'
        )
        from original
    ),
    'a replaced task has the input, time, priority and options of the new call, and its first enqueued_at'
);

select is(pg_temp.replace('3'), row(task.id, false, true)::underway.enqueued_task, 'a replaced task may be replaced again') from task;

select is(
    (select jsonb_strip_nulls(to_jsonb(t) - 'id') from underway.task t),
    jsonb_build_object(
        'queue', 'email', 'input', 3, 'state', 'pending', 'priority', 0, 'attempt', 0,
        'ready_at', '2030-01-01 12:00:30+00'::timestamptz, 'enqueued_at', '2030-01-01 12:00:00+00'::timestamptz,
        'has_errors', false, 'watched', false, 'in_batch', false, 'parked', false, 'limited', false, 'unique_key', 'order'
    ),
    'options that the new call omits come from the queue, and the task is ready now'
);

-- debounce

select pg_temp.replace('4', delay => '1 minute');
select underway_test.advance_clock('59 seconds');
select pg_temp.replace('5', delay => '1 minute');
select underway_test.advance_clock('59 seconds');

select is_empty($$ select from underway.dequeue('email', 10) $$, 'each replacement delays the task again');

select underway_test.advance_clock('1 second');

create temp table held as select * from underway.dequeue('email', 10);

select results_eq(
    $$ select held.id, held.input from held $$, $$ select task.id, '5'::jsonb from task $$,
    'the task runs once, with the last input, when the last delay is over'
);

-- a task that runs or waits

select is(
    pg_temp.replace('6'), row(task.id, false, false)::underway.enqueued_task, 'a running task is not replaced'
)
from task;

select is(i.input, '5', 'a running task keeps its input') from task, underway.task_info(task.id) i;

select lives_ok(
    $$ select underway.snooze(held.id, held.lease, '0') from held $$, 'a running task keeps its lease'
);

update underway.task t set state = 'waiting';

select is(
    pg_temp.replace('6'), row(task.id, false, false)::underway.enqueued_task, 'a waiting task is not replaced'
)
from task;

-- a retried task keeps its past

update underway.task t set state = 'pending';
drop table held;
create temp table held as select * from underway.dequeue('email', 10);
select underway.fail(held.id, held.lease, '"first"', retry_after => '1 hour') from held;

select is(pg_temp.replace('7'), row(task.id, false, true)::underway.enqueued_task, 'a task that waits for its next attempt is replaced')
from task;

select is(i.attempt, 1, 'a replaced task keeps its number of attempts') from task, underway.task_info(task.id) i;

select is(i.errors #>> '{0,message}', 'first', 'a replaced task keeps its errors') from task, underway.task_info(task.id) i;

select is(i.ready_at, underway._clock(), 'a replaced task is ready at the time of the new call') from task, underway.task_info(task.id) i;

-- a parked task

update underway.task t set parked = true, concurrency_key = 'busy';
select pg_temp.replace('8');

select results_eq(
    $$ select t.parked, t.concurrency_key::text collate "default" from underway.task t $$,
    $$ values (false, null::text) $$, 'a replaced task is not parked, because its concurrency key may have changed'
);

-- nobody has the key

select underway.cancel(task.id) from task;

select ok((pg_temp.replace('9')).created, 'a key that no live task holds gives a new task');

select ok((pg_temp.replace('9', 'other')).created, 'the task of another key is not replaced');

select underway.create_queue('sms');

select ok(
    (underway.enqueue_unique('sms', '{1}', '{order}', on_conflict => 'replace')).created,
    'the task of another queue is not replaced'
);

-- one key for several inputs: the last counts

delete from underway.task;
create temp table doubled as
select * from underway.enqueue_unique('email', '{1,2,3,4}', '{b,a,b,a}', on_conflict => 'replace') with ordinality;

select results_eq(
    $$ select d.created, d.replaced from doubled d order by d.ordinality $$,
    $$ values (true, false), (true, false), (false, true), (false, true) $$,
    'of two inputs with one key the first creates the task and the second replaces it'
);

select results_eq(
    $$ select t.input from underway.task t order by t.id $$, array['3', '4']::jsonb[], 'the task has the last input of its key'
);

select results_eq(
    $$ select d.id = e.id from doubled d join doubled e on e.ordinality = d.ordinality + 2 $$, array[true, true],
    'both inputs return the same id'
);

drop table doubled;
create temp table doubled as
select * from underway.enqueue_unique('email', '{5,6}', '{b,b}', on_conflict => 'replace') with ordinality;

select results_eq(
    $$ select d.created, d.replaced from doubled d $$, $$ values (false, true), (false, true) $$,
    'both inputs replace a task that was pending before'
);

select is(i.input, '6', 'the pending task has the last input') from doubled d, underway.task_info(d.id) i where d.ordinality = 1;

-- a time that claims have passed

delete from underway.task;
delete from underway.watermark f where f.queue = 'email';
insert into underway.watermark (queue, priority, ready_at, noted_at, noted_by)
values ('email', 0, underway._clock() + interval '1 hour', '-infinity', '0');
select underway.enqueue('email', '1', unique_key => 'order', delay => '2 hours');

select ok((pg_temp.replace('2')).replaced, 'a task is replaced after the clock was put back');

select is(
    t.ready_at, underway._clock() + interval '1 hour', 'a replaced task is not ready before the watermark'
)
from underway.task t;

select is((select count(*) from underway.dequeue('email', 10)), 1::bigint, 'a claim finds the replaced task');

-- a priority that is new to the queue

select underway.enqueue('email', '1', unique_key => 'new');
select underway.enqueue('email', '1', unique_key => 'new', priority => 42, on_conflict => 'replace');

select is(
    (select c.priority from underway.dequeue('email', 10) c), 42, 'a claim finds a task that was replaced with a new priority'
);

select * from finish();
rollback;
