-- tasks with unique keys; what became of each input

begin;
select plan(32);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.create_queue('sms');

-- new keys

create temp table added as
select *
from underway.enqueue_unique('email', '{1,2,3,4}', array['c', null, 'a', null]) with ordinality;

select results_eq(
    $$
        select added.ordinality, t.input, t.unique_key::text collate "default", added.created, added.replaced
        from added
        join underway.task t on t.id = added.id
        order by added.ordinality
    $$,
    $$
        values
            (1::bigint, '1'::jsonb, 'c', true, false), (2, '2', null, true, false), (3, '3', 'a', true, false),
            (4, '4', null, true, false)
    $$,
    'each input whose key is free, or that has no key, becomes a task'
);

select results_eq(
    $$ select added.ordinality from added order by added.id $$, '{1,2,3,4}'::bigint[],
    'ids ascend in the order of the inputs, whatever the order of keys'
);

select results_eq(
    $$ select c.input from underway.dequeue('email', 10) as c $$, array['1', '2', '3', '4']::jsonb[],
    'the tasks are claimed in the order of the inputs'
);

-- one set of options for all

create temp table full_task as
select *
from underway.enqueue_unique(
    'sms', '{7}', '{order}', job => 'send', run_at => '2030-01-01 12:10:00+00', priority => 7,
    retry_policy => underway.retry_policy(max_attempts => 9, jitter => 0), timeout => '2 minutes',
    heartbeat => '20 seconds', retention => '5 days', headers => '{"trace": "1-2"}', concurrency_key => 'customer'
);

select is(
    (select jsonb_strip_nulls(to_jsonb(t) - 'id') from underway.task t join full_task on full_task.id = t.id),
    jsonb_build_object(
        'queue', 'sms', 'input', 7, 'job', 'send', 'state', 'pending', 'priority', 7, 'attempt', 0,
        'ready_at', '2030-01-01 12:10:00+00'::timestamptz, 'enqueued_at', '2030-01-01 12:00:00+00'::timestamptz,
        'watched', false, 'in_batch', false, 'parked', false, 'holds_slot', false, 'unique_key', 'order',
        'concurrency_key', 'customer', 'retry_policy', underway.retry_policy(max_attempts => 9, jitter => 0),
        'timeout', '00:02:00', 'heartbeat', '00:00:20', 'retention', '5 days', 'headers', '{"trace": "1-2"}'::jsonb
    ),
    'a task has all the options'
);

select is((select count(*) from underway.dequeue('sms')), 0::bigint, 'and is not ready before its time');

select underway_test.advance_clock('10 minutes');

select is((select count(*) from underway.dequeue('sms')), 1::bigint, 'but then, at its priority');

-- keys that are taken: while the task is live, in its queue

create temp table task as select underway.enqueue('email', '"first"', unique_key => 'order') as id;

select is(
    underway.enqueue_unique('email', '{2}', '{order}'), row(task.id, false, false)::underway.enqueued_task,
    'the id of the task that has the key is returned, and nothing is created'
)
from task;

select is(i.input, '"first"', 'that task is as it was') from task, underway.task_info(task.id) i;

select is(
    (underway.enqueue_unique('sms', '{2}', '{Order}')).created, true, 'keys are told apart by case'
);

update underway.task t set state = 'waiting' where t.id = (select task.id from task);

select is(
    underway.enqueue_unique('email', '{2}', '{order}'), row(task.id, false, false)::underway.enqueued_task,
    'a waiting task holds its key'
)
from task;

update underway.task t set state = 'pending' where t.id = (select task.id from task);

create temp table held as select * from underway.dequeue('email');

select is(
    underway.enqueue_unique('email', '{2}', '{order}'), row(task.id, false, false)::underway.enqueued_task,
    'a running task holds its key'
)
from task;

select underway.snooze(held.id, held.lease, '0') from held;

select is(
    underway.enqueue_unique('email', '{2}', '{order}'), row(task.id, false, false)::underway.enqueued_task,
    'a snoozed task holds its key'
)
from task;

-- free again

drop table held;
create temp table held as select * from underway.dequeue('email');
select underway.complete(held.id, held.lease) from held;
create temp table second as select * from underway.enqueue_unique('email', '{2}', '{order}');

select ok(second.created, 'a succeeded task does not hold its key') from second;

select underway.cancel(second.id) from second;
create temp table third as select * from underway.enqueue_unique('email', '{3}', '{order}');

select ok(third.created, 'a cancelled task does not hold its key') from third;

select underway.create_queue('letters');
select underway.create_queue('email', dead_letter_queue => 'letters');
select underway.fail(c.id, c.lease, '"x"', retryable => false) from underway.dequeue('email') c;

select ok(
    (underway.enqueue_unique('email', '{4}', '{order}')).created, 'a failed task does not hold its key while its dead letter is pending'
);

select is((select t.unique_key from underway.task t where t.queue = 'letters'), null, 'the dead letter has no key');

select is(
    (underway.enqueue_unique('letters', '{4}', '{order}')).created, true, 'the dead letter does not hold the key in its own queue'
);

select is(i.unique_key, 'order', 'the history knows the key') from second, underway.task_info(second.id) i;

-- one key for several inputs

create temp table doubled as
select * from underway.enqueue_unique('email', '{1,2,3,4}', '{b,b,order,b}') with ordinality;

select results_eq(
    $$ select d.created, d.id = one.id from doubled d, doubled one where one.ordinality = 1 order by d.ordinality $$,
    $$ values (true, true), (false, true), (false, false), (false, true) $$,
    'of several inputs with one key the first creates the task, and the others return its id'
);

select is(i.input, '1', 'the task has the first of these inputs') from doubled d, underway.task_info(d.id) i where d.ordinality = 1;

-- error

select throws_ok(
    $$ select underway.enqueue_unique('email', '{1,2}', '{new,b}', on_conflict => 'error') $$, 'UW010',
    format('the key ''b'' of queue ''email'' is taken by task %s', (select d.id from doubled d where d.ordinality = 1)),
    'a key that is taken is refused with the task that has it'
);

select throws_ok(
    $$ select underway.enqueue_unique('email', '{1,2}', '{new,new}', on_conflict => 'error') $$, 'UW010', null,
    'a key that is given twice is refused'
);

select ok(
    (underway.enqueue_unique('email', '{1}', '{new}', on_conflict => 'error')).created,
    'a refused call takes none of its keys'
);

-- nothing to do

select is_empty($$ select underway.enqueue_unique('email', '{}', '{}') $$, 'no inputs give no rows');

-- refusals

create temp table before as select count(*) from underway.task;

select throws_ok(
    $$ select underway.enqueue_unique('fax', '{1}', '{a}') $$, 'UW003', null, 'a queue that does not exist is refused'
);

select throws_ok(
    $$ select underway.enqueue_unique('email', array['1', null]::jsonb[], '{a,b}') $$, 'UW001', 'input 2 is null',
    'an input that is null is refused'
);

select throws_ok(
    $$ select underway.enqueue_unique('email', array[to_jsonb(repeat('a', 1048575))], '{a}') $$, 'UW007', null,
    'an input that is too large is refused'
);

select throws_ok(
    $$ select underway.enqueue_unique('email', '{1}', null) $$, 'UW001', '0 unique keys are given for 1 inputs',
    'keys that are null are refused'
);

select throws_ok(
    $$ select underway.enqueue_unique('email', '{1}', '{a}', on_conflict => 'skip') $$, 'UW001', null,
    'an unknown on_conflict is refused'
);

select throws_ok(
    $$ select underway.enqueue_unique('email', '{1}', array['']) $$, 'UW001', null, 'an empty key is refused'
);

select throws_ok(
    $$ select underway.enqueue_unique('email', '{1}', '{a}', delay => '-1 s') $$, 'UW001', null,
    'options that cannot be are refused'
);

select is((select count(*) from underway.task), before.count, 'what is refused leaves no task') from before;

select * from finish();
rollback;
