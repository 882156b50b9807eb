begin;
select plan(9);

create temporary table task as
select
    underway_test.finished_task('succeeded') as succeeded, underway_test.finished_task('failed') as failed,
    underway_test.finished_task('cancelled') as cancelled, underway_test.ready_task() as pending,
    (underway_test.held_task()).id as running, underway_test.ready_task() as plain;
insert into underway.batch (id, created_at, retention, implicit) overriding system value
values (-1, underway._clock(), '1 day', false), (-2, underway._clock(), '1 day', false);

select underway._add_to_batch(-1, array[running, succeeded, failed, cancelled, pending]) from task;

select results_eq(
    'select task, outcome::text from underway.batch_task where batch = -1 order by task',
    $$
        select * from (
            select failed, 'failed' from task union all select cancelled, 'cancelled' from task
            union all select pending, null from task union all select running, null from task
        ) expected order by 1
    $$,
    'a batch has rows for its live tasks and for those that have not succeeded'
);
select set_eq(
    'select id from underway.task where in_batch', 'select unnest(array[pending, running]) from task',
    'the live tasks of a batch are in_batch, and no other task is'
);
select is((select tasks from underway.batch where id = -1), 5, 'all tasks of a batch are counted');
select underway._add_to_batch(-1, array[plain]) from task;
select is((select tasks from underway.batch where id = -1), 6, 'tasks that are added later are counted too');
select underway._add_to_batch(-2, '{}');
select is((select tasks from underway.batch where id = -2), 0, 'a batch of no tasks counts none');
select underway._add_to_batch(-2, array[pending]) from task;
select is((select count(*) from underway.batch_task m, task where m.task = pending), 2::bigint, 'a task may be in several batches');

-- refusals

select throws_ok(
    'select underway._add_to_batch(-2, array[plain, 987654321]) from task', 'UW004', 'task 987654321 does not exist',
    'a task that does not exist is refused'
);
select is((select tasks from underway.batch where id = -2), 1, 'a refused call adds no task');
select is(
    underway_test.hint_of('select underway._add_to_batch(-2, array[987654321])'),
    'It was deleted, its retention is over, its transaction was rolled back, or its transaction is not committed yet.', 'the hint names the reasons for which a task is unknown'
);

select * from finish();
rollback;
