-- a queue is removed

begin;
select plan(23);

select underway_test.stop_clock();

-- without live tasks

create temp table finished as select underway_test.finished_task(queue => 'done') as id;

select lives_ok($$ select underway.drop_queue('done') $$, 'a queue without live tasks is dropped');

select throws_ok($$ select underway.enqueue('done') $$, 'UW003', null, 'nothing can be enqueued there any more');

select throws_ok($$ select underway.dequeue('done') $$, 'UW003', null, 'nor dequeued');

select isnt_empty(
    $$ select from underway.queue_priority l where l.queue = 'done' $$,
    'its priorities stay known, for a task that is being enqueued just now'
);

select is(underway_test.state_of(finished.id), 'succeeded', 'its finished tasks stay in the history') from finished;

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
    'Let them finish, or cancel them with the queue: select underway.drop_queue(''email'', force => true);',
    'the hint is the call that would drop it by force'
);

select is((select count(*) from underway.task t where t.queue = 'email'), 5::bigint, 'a refused drop cancels nothing');

select lives_ok($$ select underway.drop_queue('email', force => true) $$, 'by force it is dropped');

select is(
    underway_test.state_of(live.id), 'cancelled', format('a task of it that was %s is cancelled', live.state)
)
from live;

select is((select h.expires_at from underway.task_history h join live on live.id = h.id where live.state = 'pending'),
    '2030-01-04 12:00:00+00'::timestamptz, 'and is kept as long as the queue said');

select is(i.errors #>> '{0,message}', 'first', 'with its errors') from tried, underway.task_info(tried.id) i;

select throws_ok(
    format('select underway.complete(%s, %L)', live.id, live.lease), 'UW002',
    format('task %s is not held under lease %s; it is cancelled', live.id, live.lease),
    'the holder of one that was running has lost its lease'
)
from live
where live.state = 'in_progress';

select is(underway_test.state_of(bystander.id), 'pending', 'the tasks of other queues stay') from bystander;

-- a dead-letter queue

select underway.create_queue('letters');
select underway.create_queue('sms', dead_letter_queue => 'letters');
select underway.drop_queue('letters');

select is(
    (select q.dead_letter_queue from underway.queue q where q.name = 'sms'), null,
    'a queue whose dead-letter queue is dropped has none any more'
);

create temp table failed as select underway_test.finished_task('failed', 'sms') as id;

select is(underway_test.state_of(failed.id), 'failed', 'its failures need no dead-letter queue') from failed;

-- it can come back

select underway.create_queue('email');

select is_empty($$ select * from underway.dequeue('email', 10) $$, 'a queue that is created anew begins empty');

select underway.enqueue('email', priority => 5);

select is((select count(*) from underway.dequeue('email', 10)), 1::bigint, 'and works');

-- force is meant

select underway_test.ready_task('doubtful');

select throws_ok(
    $$ select underway.drop_queue('doubtful', force => null) $$, 'UW006', null, 'a force that is null is no force'
);

select * from finish();
rollback;
