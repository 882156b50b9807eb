begin;
select plan(24);

select underway_test.stop_clock();

-- without live tasks

create temp table finished as select underway_test.finished_task(queue => 'done') as id;

select lives_ok($$ select underway.drop_queue('done') $$, 'a queue without live tasks is dropped');

select throws_ok($$ select underway.enqueue('done') $$, 'UW003', null, 'enqueueing to a dropped queue is refused');

select throws_ok($$ select underway.dequeue('done') $$, 'UW003', null, 'a claim from a dropped queue is refused');

select is_empty(
    $$
        select 'queue_priority' from underway.queue_priority p where p.queue = 'done'
        union all
        select 'watermark' from underway.watermark w where w.queue = 'done'
    $$,
    'the priorities and watermarks of a dropped queue are deleted'
);

select is(underway_test.state_of(finished.id), 'succeeded', 'the finished tasks of a dropped queue stay in the history') from finished;

select throws_ok(
    $$ select underway.drop_queue('done') $$, 'UW003', $$queue 'done' does not exist$$,
    'a queue that does not exist is refused'
);

-- with live tasks

select underway.create_queue('email', retention => '3 days');

create temp table live as
select 'pending' as state, underway_test.ready_task() as id, null::uuid as lease
union all
select 'later', underway.enqueue('email', delay => '1 day'), null
union all
select 'waiting', underway_test.ready_task(), null
union all
select 'in_progress', held.id, held.lease from underway_test.held_task() held;

update underway.task t set state = 'waiting' where t.id = (select live.id from live where live.state = 'waiting');

create temp table tried as select * from underway_test.held_task();
select underway.fail(tried.id, tried.lease, '"first"') from tried;

create temp table bystander as select underway_test.ready_task('sms') as id;

select throws_ok(
    $$ select underway.drop_queue('email') $$, 'UW006', $$queue 'email' still has live tasks$$,
    'a queue with live tasks is refused'
);

select is(
    underway_test.hint_of($$ select underway.drop_queue('email') $$),
    'Wait until they have finished, or cancel them: select underway.drop_queue(''email'', force => true);',
    'the hint is the call that drops the queue by force'
);

select is((select count(*) from underway.task t where t.queue = 'email'), 5::bigint, 'a refused drop cancels nothing');

select lives_ok($$ select underway.drop_queue('email', force => true) $$, 'a queue with live tasks is dropped by force');

select is(
    underway_test.state_of(live.id), 'cancelled', format('a task of the queue that was %s is cancelled', live.state)
)
from live;

select is((select h.kept_until from underway.task_history h join live on live.id = h.id where live.state = 'pending'),
    '2030-01-04 12:00:00+00'::timestamptz, 'a cancelled task is kept for the retention of the dropped queue');

select is(i.errors #>> '{0,message}', 'first', 'a cancelled task keeps its errors') from tried, underway.task_info(tried.id) i;

select throws_ok(
    format('select underway.complete(%s, %L)', live.id, live.lease), 'UW002',
    format('task %s is not held under lease %s; it is cancelled', live.id, live.lease),
    'the worker of a running task has lost its lease'
)
from live
where live.state = 'in_progress';

select is(underway_test.state_of(bystander.id), 'pending', 'the tasks of other queues are not changed') from bystander;

-- a dead-letter queue

select underway.create_queue('letters');
select underway.create_queue('sms', dead_letter_queue => 'letters');
select underway.drop_queue('letters');

select is(
    (select q.dead_letter_queue from underway.queue q where q.name = 'sms'), null,
    'a queue whose dead-letter queue was dropped has none afterwards'
);

create temp table failed as select underway_test.finished_task('failed', 'sms') as id;

select is(underway_test.state_of(failed.id), 'failed', 'a task of that queue can fail without a dead-letter queue') from failed;

-- the queue is created again

select underway.create_queue('email');

select is_empty($$ select * from underway.dequeue('email', 10) $$, 'a queue that is created again is empty');

select underway.enqueue('email', priority => 5);

select is((select count(*) from underway.dequeue('email', 10)), 1::bigint, 'tasks can be enqueued and claimed in it');

-- a queue that is created again takes no part in the past of the old one

select underway.create_queue('keyed', rate_limit => 1, rate_period => '1 hour');
select underway_test.keyed_tasks('a1 a2', 'keyed');
select underway_test.claimed(2, 'keyed');
select underway._advance_watermark('keyed', 0);
select underway.pause_key('keyed', 'a');
select underway.drop_queue('keyed', force => true);
select underway.create_queue('keyed', rate_limit => 1, rate_period => '1 hour');
select underway_test.keyed_tasks('a3', 'keyed');

select is(
    underway_test.claimed(2, 'keyed'), 'a3', 'a queue that is created again has a full bucket, no paused keys and no running tasks'
);

-- force

select underway_test.ready_task('doubtful');

select throws_ok(
    $$ select underway.drop_queue('doubtful', force => null) $$, 'UW006', null, 'a null force does not cancel live tasks'
);

select * from finish();
rollback;
