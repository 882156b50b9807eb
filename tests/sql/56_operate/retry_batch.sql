begin;
select plan(10);

select underway.create_queue('work');
select underway.create_queue('email');
create temporary table task as select underway.enqueue('work') as a, underway.enqueue('work') as b;
create temporary table after as
select underway.enqueue('email', after => array[a, b]) as id, underway.enqueue('email', after => array[a]) as only_a from task;
create temporary table batch as select underway.enqueue_batch('[{"queue": "email"}]', on_success => '{"queue": "email"}', on_final => '{"queue": "email"}') as id;

select underway.cancel(a), underway.cancel(b) from task;
select underway.retry(a) from task;
select underway.complete(d.id, d.lease) from underway.dequeue('work') d;
select is(underway_test.state_of(only_a), 'pending', 'the dependent of a retried task runs when that has succeeded') from after;
select is(underway_test.state_of(id), 'waiting', 'a dependent of two tasks continues to wait for the other') from after;

-- it fails again

select underway.retry(b) from task;
select underway.fail(d.id, d.lease, '"no"', retryable => false) from underway.dequeue('work') d;
select is(underway_test.state_of(id), 'waiting', 'a retried task that fails again releases nothing') from after;
select is(
    (select m.outcome::text from underway.batch_task m, task where m.task = b), 'failed', 'the outcome of a retried task is recorded anew'
);
select underway.retry(b) from task;
select is(
    (select m.outcome::text from underway.batch_task m, task where m.task = b), null, 'while it is live that is forgotten'
);
select underway.complete(d.id, d.lease) from underway.dequeue('work') d;
select is(underway_test.state_of(id), 'pending', 'a task may be retried any number of times') from after;

-- a task that has failed with another is retried by itself

create temporary table root as select underway.enqueue('work') as id;
create temporary table doomed as select underway.enqueue('work', after => array[id], after_failure => 'fail') as id from root;
create temporary table last as select underway.enqueue('work', after => array[id]) as id from doomed;
select underway.cancel(id) from root;
select underway.retry(id) from doomed;
select is(
    (select jsonb_agg(e -> 'type') from doomed, underway.task_info(id) i, jsonb_array_elements(i.errors) e), '["DependencyFailed"]',
    'a task that failed with another and is retried has its error'
);
select is(underway_test.state_of(id), 'pending', 'a dependent that failed and is retried is ready at once') from doomed;
select underway.complete(d.id, d.lease) from underway.dequeue('work') d;
select is(underway_test.state_of(id), 'pending', 'its own dependent is started when it has succeeded') from last;

-- a dead letter that is withdrawn is a task that others may come after

select underway.create_queue('letters');
select underway.create_queue('mail', dead_letter_queue => 'letters');
create temporary table failed as select underway_test.finished_task('failed', 'mail') as id;
create temporary table letter as select underway.enqueue('email', after => array[t.id], after_failure => 'run') as after from underway.task t where t.queue = 'letters';
select underway.retry(id) from failed;
select is(underway_test.state_of(after), 'pending', 'the dependent of a dead letter is started when a retry cancels the letter') from letter;

select * from finish();
rollback;
