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

-- all options come from the new call

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
    'a replaced task has the input, time, priority and options of the new call, and keeps the time of its enqueueing'
);

select is(pg_temp.replace('3'), row(task.id, false, true)::underway.enqueued_task, 'a replaced task can be replaced again') from task;

select is(
    (select jsonb_strip_nulls(to_jsonb(t) - 'id') from underway.task t),
    jsonb_build_object(
        'queue', 'email', 'input', 3, 'state', 'pending', 'priority', 0, 'attempt', 0,
        'ready_at', '2030-01-01 12:00:30+00'::timestamptz, 'enqueued_at', '2030-01-01 12:00:00+00'::timestamptz,
        'watched', false, 'in_batch', false, 'parked', false, 'holds_slot', false, 'unique_key', 'order'
    ),
    'options that the new call leaves out are reset, and the task is ready now'
);

-- debounce

select pg_temp.replace('4', delay => '1 minute');
select underway_test.advance_clock('59 seconds');
select pg_temp.replace('5', delay => '1 minute');
select underway_test.advance_clock('59 seconds');

select is_empty($$ select from underway.dequeue('email', 10) $$, 'each replacement with a delay puts the task off again');

select underway_test.advance_clock('1 second');

create temp table held as select * from underway.dequeue('email', 10);

select results_eq(
    $$ select held.id, held.input from held $$, $$ select task.id, '5'::jsonb from task $$,
    'a task that was replaced several times runs once, with the latest input, after the last delay'
);

-- a task that runs or waits

select is(
    pg_temp.replace('6'), row(task.id, false, false)::underway.enqueued_task, 'a running task is not replaced'
)
from task;

select is(i.input, '5', 'a running task keeps its input') from task, underway.task_info(task.id) i;

select lives_ok(
    $$ select underway.snooze(held.id, held.lease, '0') from held $$, 'the holder of a running task keeps its lease'
);

update underway.task t set state = 'waiting';

select is(
    pg_temp.replace('6'), row(task.id, false, false)::underway.enqueued_task, 'a waiting task is not replaced'
)
from task;

-- a task that waits for its retry

update underway.task t set state = 'pending';
drop table held;
create temp table held as select * from underway.dequeue('email', 10);
select underway.fail(held.id, held.lease, '"first"', retry_after => '1 hour') from held;

select is(pg_temp.replace('7'), row(task.id, false, true)::underway.enqueued_task, 'a task that waits for its retry is replaced')
from task;

select is(i.attempt, 1, 'a replaced task keeps the number of its attempts') from task, underway.task_info(task.id) i;

select is(i.errors #>> '{0,message}', 'first', 'a replaced task keeps its errors') from task, underway.task_info(task.id) i;

select is(i.ready_at, underway._clock(), 'a task that waited for its retry is ready at the time of the new call') from task, underway.task_info(task.id) i;

-- a parked task

update underway.task t set parked = true, concurrency_key = 'busy';
select pg_temp.replace('8');

select results_eq(
    $$ select t.parked, t.concurrency_key::text collate "default" from underway.task t $$,
    $$ values (false, null::text) $$, 'a parked task is no longer parked after it was replaced, because its key may be another one'
);

-- the unique key is free

select underway.cancel(task.id) from task;

select ok((pg_temp.replace('9')).created, 'a task is created when its unique key is free');

select ok((pg_temp.replace('9', 'other')).created, 'a task with another unique key is not replaced');

select underway.create_queue('sms');

select ok(
    (underway.enqueue_unique('sms', '{1}', '{order}', on_conflict => 'replace')).created,
    'a task with the same unique key in another queue is not replaced'
);

-- one unique key for several inputs

delete from underway.task;
create temp table doubled as
select * from underway.enqueue_unique('email', '{1,2,3,4}', '{b,a,b,a}', on_conflict => 'replace') with ordinality;

select results_eq(
    $$ select d.created, d.replaced from doubled d order by d.ordinality $$,
    $$ values (true, false), (true, false), (false, true), (false, true) $$,
    'of inputs with one unique key the first creates the task and the next one replaces it'
);

select results_eq(
    $$ select t.input from underway.task t order by t.id $$, array['3', '4']::jsonb[], 'of inputs with one unique key the last one counts'
);

select results_eq(
    $$ select d.id = e.id from doubled d join doubled e on e.ordinality = d.ordinality + 2 $$, array[true, true],
    'inputs with one unique key return the same id'
);

drop table doubled;
create temp table doubled as
select * from underway.enqueue_unique('email', '{5,6}', '{b,b}', on_conflict => 'replace') with ordinality;

select results_eq(
    $$ select d.created, d.replaced from doubled d $$, $$ values (false, true), (false, true) $$,
    'each input with the unique key of a pending task replaces it'
);

select is(i.input, '6', 'of inputs that replace a pending task the last one counts') from doubled d, underway.task_info(d.id) i where d.ordinality = 1;

-- the clock is put back

delete from underway.task;
delete from underway.watermark w where w.queue = 'email';
insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, underway._clock(), underway._clock() + interval '0.5 seconds', '{}');
select underway.enqueue('email', '1', unique_key => 'order', delay => '2 hours');

select ok((pg_temp.replace('2')).replaced, 'a task is replaced after the clock was put back');

select is(
    t.ready_at, underway._clock() + interval '0.5 seconds',
    'a replaced task is not ready before a time that a claim has recorded half a second ahead'
)
from underway.task t;

delete from underway.watermark w where w.queue = 'email';
insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, underway._clock() + interval '23 hours', underway._clock() + interval '1 day', '{}');
select pg_temp.replace('3');

select is(
    (select c.input from underway.dequeue('email', 10) c), '3',
    'a task is replaced and claimed at once although a claim has recorded a time a day ahead'
);

-- a priority that is new to the queue

select underway.enqueue('email', '1', unique_key => 'new');
select underway.enqueue('email', '1', unique_key => 'new', priority => 4242, on_conflict => 'replace');

select is(
    (select c.priority from underway.dequeue('email', 10) c), 4242, 'a task that was replaced with a new priority is claimed at that priority'
);

select * from finish();
rollback;
