begin;
select plan(8);

select underway.create_queue('letters');
select underway.create_queue('work', dead_letter_queue => 'letters');
select underway.create_queue('email');

create temporary table batch as
select underway.enqueue_batch('[{"queue": "work"}]', '{"queue": "email"}', '{"queue": "email"}', '{"queue": "email"}') as id;
create temporary table task as select m.task as id, underway.enqueue('email', after => array[m.task]) as after from underway.batch_task m;
create temporary table doomed as select underway.enqueue('work', after => array[id], after_failure => 'fail') as id from task;
select underway.fail(d.id, d.lease, '"no"', retryable => false) from underway.dequeue('work') d;
create temporary table waiting_for_letter as
select underway.enqueue('email', after => array[t.id]) as id, underway.enqueue('email', after => array[t.id], after_failure => 'run') as run
from underway.task t, task where t.queue = 'letters' and (t.dead_letter ->> 'task')::bigint = task.id;

select is(underway.redrive('letters'), 2, 'a task and what has failed with it go back');
select is(
    (select (live, failed)::text from underway.batch_stats), '(1,0)', 'the task is live in its batch again'
);
select is(underway_test.state_of(id), 'waiting', 'a dependent of the letter that waits for its success continues to wait when the letter is redriven') from waiting_for_letter;
select is(underway_test.state_of(run), 'pending', 'a dependent with after_failure run is started when the letter is redriven') from waiting_for_letter;
select is(underway_test.state_of(after), 'waiting', 'the dependent of a redriven task continues to wait') from task;

select underway.complete(d.id, d.lease) from underway.dequeue('work', 10) d;
select is(underway_test.state_of(after), 'pending', 'the dependent of a redriven task is started when that has succeeded') from task;
select is(
    (select (underway_test.state_of(on_success), underway_test.state_of(on_final))::text from underway.batch_stats), '(pending,pending)',
    'the callbacks of its batch are started then'
);
select is(underway_test.state_of(id), 'succeeded', 'a dependent that had failed with the task and was redriven has run too') from doomed;

select * from finish();
rollback;
