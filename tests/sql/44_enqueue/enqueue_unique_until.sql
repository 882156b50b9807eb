-- keys that are free as soon as their task begins

begin;
select plan(20);

select underway_test.stop_clock();
select underway.create_queue('dead');
select underway.create_queue('email', dead_letter_queue => 'dead', retry_policy => underway.retry_policy(max_attempts => 2));

create function pg_temp.enqueue(input jsonb, on_conflict text default 'return', unique_until text default 'start')
returns underway.enqueued_task language sql as $$
    select *
    from underway.enqueue_unique(
        'email', array[enqueue.input], '{page}', on_conflict => enqueue.on_conflict, unique_until => enqueue.unique_until
    )
$$;

create function pg_temp.key_of(task bigint) returns text language sql as $$
    select i.unique_key from underway.task_info(key_of.task) i
$$;

-- pending it holds its key

create temp table first as select * from pg_temp.enqueue('1');

select ok(first.created, 'the first task takes the key') from first;
select is(
    pg_temp.enqueue('2'), row(first.id, false, false)::underway.enqueued_task, 'a pending task holds its key'
)
from first;
select is(
    pg_temp.enqueue('3', 'replace'), row(first.id, false, true)::underway.enqueued_task, 'a pending task is replaced'
)
from first;
select throws_ok(
    $$ select pg_temp.enqueue('4', 'error') $$, 'UW010', null, 'a pending task is a conflict'
);

-- running it does not

create temp table running as select * from underway.dequeue('email', 1);
create temp table second as select * from pg_temp.enqueue('5', 'replace');

select is(running.input, '3', 'the task runs with the input that has replaced the first') from running;
select ok(second.created, 'while it runs the next task takes the key') from second;
select is(pg_temp.key_of(running.id), null, 'a task that has begun has no unique key') from running;
select is(pg_temp.key_of(second.id), 'page', 'the next task has it') from second;

-- nor does it take the key back

select underway.release(running.id, running.lease) from running;
select is(pg_temp.key_of(running.id), null, 'a task that was released does not take its key back') from running;
select is(
    (pg_temp.enqueue('6')).id, second.id, 'the key is held by the next task only'
)
from second;

create temp table again as select * from underway.dequeue('email', 1);
select is(again.id, running.id, 'the released task runs again') from again, running;
select underway.fail(again.id, again.lease, '"no"', retryable => false) from again;
select lives_ok(
    $$ select underway.retry(again.id) from again $$,
    'retry of a task that has begun is accepted while another task has the key'
);
select is(pg_temp.key_of(again.id), null, 'and does not take the key back') from again;

create temp table third as
select c.* from underway.dequeue('email', 2) c join again on again.id = c.id;
select underway.fail(third.id, third.lease, '"no"', retryable => false) from third;
select pg_temp.enqueue('7');
select is(underway.redrive('dead'), 1, 'its dead letter goes back while another task has the key');
select is(pg_temp.key_of(third.id), null, 'without the key, too') from third;

-- a task that has not begun keeps its key through cancel and retry

create temp table pending as select (pg_temp.enqueue('8')).id;
select underway.cancel(pending.id), underway.retry(pending.id) from pending;
select is(pg_temp.key_of(pending.id), 'page', 'a task that was cancelled before its start has its key after retry')
from pending;
select underway.dequeue('email', 10);
select is(pg_temp.key_of(pending.id), 'page', 'and then holds it until it finishes') from pending;
select underway.cancel(pending.id) from pending;

-- replace decides anew

create temp table fourth as select * from pg_temp.enqueue('9', unique_until => 'finish');
select is(
    (pg_temp.enqueue('10', 'replace')).replaced, true, 'a task that holds its key until it finishes may be replaced'
);
select underway.dequeue('email', 1);
select is(pg_temp.key_of(fourth.id), null, 'by one that holds it until it starts') from fourth;

create temp table fifth as select * from pg_temp.enqueue('11', unique_until => 'finish');
select underway.dequeue('email', 1);
select is((pg_temp.enqueue('12')).id, fifth.id, 'without unique_until a task holds its key while it runs') from fifth;

select * from finish();
rollback;
