begin;
select plan(3);

create temporary table task as select underway_test.finished_task('failed') as id, underway_test.finished_task('failed') as other;
insert into underway.batch_task
select given.task, given.batch, 'failed'
from (
    select id as task, unnest('{-1,-2}'::bigint[]) as batch from task
    union all
    select other, -1 from task
) given;

select underway._reactivate_in_batches(id) from task;

select is(
    (select count(*) from underway.batch_task m, task where m.task = id and m.outcome is null), 2::bigint,
    'a retried task is live in all its batches'
);
select is(
    (select m.outcome::text from underway.batch_task m, task where m.task = other), 'failed', 'other tasks of the batches do not change'
);
select lives_ok('select underway._reactivate_in_batches(987654321)', 'a task of no batch may be retried too');

select * from finish();
rollback;
