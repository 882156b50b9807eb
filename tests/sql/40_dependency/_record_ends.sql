begin;
select plan(10);

select underway.create_queue('email');
create temporary table task as
select (underway.enqueue_many('email', array_fill('1'::jsonb, array[4]))) as ids;
insert into underway.batch (id, created_at, retention, implicit) overriding system value
values (-1, underway._clock(), '1 day', false), (-2, underway._clock(), '1 day', false);
select underway._add_to_batch(-1, ids[1:3]), underway._add_to_batch(-2, ids[3:4]) from task;

-- what is noted

select is(underway._record_outcomes(ids[1:1], 'succeeded'), '{}', 'a batch with a live task is not returned') from task;
select is_empty('select from underway.batch_task m, task where m.task = ids[1]', 'the row of a succeeded task is deleted');

select is(
    underway._record_outcomes(ids[2:2], 'failed'), '{-1}',
    'a batch is returned at its first failure, though others of its tasks are live'
)
from task;
select is(
    (select m.outcome::text from underway.batch_task m, task where m.task = ids[2]), 'failed', 'the outcome of a failed task is stored'
);

update underway.batch set failed_at = underway._clock() where id = -1;
select is(
    underway._record_outcomes(ids[3:3], 'cancelled'), '{-2,-1}',
    'a batch is returned with its last task, and a second batch of the task with its first failure'
)
from task;

update underway.batch set failed_at = underway._clock() where id = -2;
update underway.batch_task m set outcome = null from task where m.task = ids[2];
select is(underway._record_outcomes(ids[3:3], 'failed'), '{}', 'a further failure returns no batch while a task is live') from task;
select is(underway._record_outcomes('{987654321}', 'succeeded'), '{}', 'a task of no batch returns no batch');

-- what follows

create temporary table follower as select underway.enqueue('email') as id;
select underway._block_tasks(array[id], -2, 'final') from follower;
select underway._evaluate_batches(underway._record_outcomes(ids[2:2], 'succeeded')) from task;
select is(underway_test.state_of(id), 'waiting', 'a dependent waits while a task of its batch is live') from follower;
select underway._evaluate_batches(underway._record_outcomes(ids[4:4], 'failed')) from task;
select is(underway_test.state_of(id), 'pending', 'a dependent is ready when the last task of its batch ends') from follower;
select ok((select b.final_at is not null and b.succeeded_at is null from underway.batch b where b.id = -2), 'the batch is final then');

select * from finish();
rollback;
