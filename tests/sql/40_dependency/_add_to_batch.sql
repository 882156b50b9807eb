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
    'a batch has its live tasks and those that have not succeeded'
);
select set_eq(
    'select id from underway.task where in_batch', 'select unnest(array[pending, running]) from task',
    'those that are live are in_batch, and no other'
);
select is((select tasks from underway.batch where id = -1), 5, 'all of them are counted');
select underway._add_to_batch(-1, array[plain]) from task;
select is((select tasks from underway.batch where id = -1), 6, 'and those that come later, too');
select underway._add_to_batch(-2, '{}');
select is((select tasks from underway.batch where id = -2), 0, 'no tasks are none');
select underway._add_to_batch(-2, array[pending]) from task;
select is((select count(*) from underway.batch_task m, task where m.task = pending), 2::bigint, 'a task may be in several');

-- refusals

select throws_ok(
    'select underway._add_to_batch(-2, array[plain, 987654321]) from task', 'UW004', 'task 987654321 does not exist',
    'a task that does not exist is refused'
);
select is((select tasks from underway.batch where id = -2), 1, 'and then none is joined');
select is(
    underway_test.hint_of('select underway._add_to_batch(-2, array[987654321])'),
    'It was deleted, its retention is over, or its transaction was rolled back.', 'the hint says why it may be so'
);

select * from finish();
rollback;
