begin;
select plan(10);

select underway_test.stop_clock('2030-01-01 12:00:00Z');
select underway.create_queue('letters');
select underway.create_queue('email', dead_letter_queue => 'letters');
create temporary table task as select underway.enqueue('email') as a, underway.enqueue('email') as b;
create temporary table follower as
select
    underway.enqueue('email', '{"n": 1}', after => array[a, b], after_failure => 'fail', headers => '{"trace": "t"}') as first,
    underway.enqueue('email', after => array[a], after_failure => 'fail') as second,
    underway.enqueue('email') as pending
from task;
create temporary table last as
select underway.enqueue('email', after => array[first]) as id, 0::bigint as batch from follower;
update last set batch = f.batch from underway.dependent f where f.task = last.id;
create temporary table past as select a from task;
update underway.batch_task m set outcome = 'cancelled' from task where m.task = task.a;

create temporary table noted as select underway._fail_dependents(array[first, pending]) as batches from follower;

select is(underway_test.state_of(first), 'failed', 'a waiting task fails') from follower;
select is(underway_test.state_of(second), 'waiting', 'a waiting task that is not given continues to wait') from follower;
select is(underway_test.state_of(pending), 'pending', 'a pending task stays pending') from follower;

select is(
    (select i.errors - 0 from underway.task_info(first) i), '[]', 'a failed dependent has one error'
)
from follower;
select is(
    (select i.errors -> 0 from underway.task_info(first) i),
    jsonb_build_object(
        'type', 'DependencyFailed', 'message', format('task %s, which it comes after, is cancelled', a),
        'attempt', 0, 'failed_at', underway._clock()
    ),
    'the error names the task that has not succeeded, and its state'
)
from follower, task;

select is(
    (
        select (t.input, t.headers, t.dead_letter ->> 'task', t.dead_letter ->> 'attempts', t.dead_letter #>> '{error,type}')::text
        from underway.task t
        where t.queue = 'letters'
    ),
    format('("{""n"": 1}","{""trace"": ""t""}",%s,0,DependencyFailed)', first),
    'a failed dependent leaves a dead letter'
)
from follower;

select is(batches, array[last.batch], 'the batches of a failed dependent are returned for evaluation') from noted, last;
select is(
    (select m.outcome::text from underway.batch_task m, follower where m.task = first), 'failed', 'the outcome of a failed dependent is recorded in its batch'
);
select is(underway_test.state_of(id), 'waiting', 'the dependents of the failed dependent still wait') from last;
select is(underway._fail_dependents(array[first, pending]), '{}', 'a second call changes nothing') from follower;

select * from finish();
rollback;
