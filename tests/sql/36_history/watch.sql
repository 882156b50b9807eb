-- ask for a notification of the final state

begin;
select plan(13);

select underway_test.stop_clock();

create temp table task as
select 'pending' as state, underway_test.ready_task('untouched') as id
union all
select 'in_progress', (underway_test.held_task()).id
union all
select 'waiting', underway_test.ready_task('untouched')
union all
select 'succeeded', underway_test.finished_task('succeeded')
union all
select 'failed', underway_test.finished_task('failed')
union all
select 'cancelled', underway_test.finished_task('cancelled');

update underway.task t set state = 'waiting' where t.id = (select task.id from task where task.state = 'waiting');

create temp table before as select t.* from underway.task t;
create temp table history_before as select h.* from underway.task_history h;

select is(
    underway.watch(task.id)::text, task.state,
    format('a task that is %s is watched, and its state returned', task.state)
)
from task;

select results_eq(
    $$ select to_jsonb(t) from underway.task t order by t.id $$,
    $$ select to_jsonb(before) || '{"watched": true}' from before order by before.id $$,
    'watching a live task sets its watched flag and nothing else'
);

select results_eq(
    'select to_jsonb(h) from underway.task_history h order by h.id',
    'select to_jsonb(h) from history_before h order by h.id',
    'a finished task does not change'
);

select is(
    underway.watch(task.id)::text, 'pending', 'a task may be watched twice'
)
from task where task.state = 'pending';

-- it stays watched until it ends

select from underway.dequeue('untouched') as claimed, underway.fail(claimed.id, claimed.lease, '"x"');

select ok(
    t.watched, 'a task is still watched in its next attempt'
)
from underway.task t join task on task.id = t.id where task.state = 'pending';

-- unknown

select throws_ok(
    'select underway.watch(987654321)', 'UW004', 'task 987654321 does not exist',
    'a task that does not exist is refused'
);

select is(
    underway_test.hint_of('select underway.watch(987654321)'),
    'It was deleted, its retention is over, its transaction was rolled back, or its transaction is not committed yet.',
    'the hint names the reasons for which a task is unknown'
);

select throws_ok('select underway.watch(null)', 'UW004', null, 'null is refused');

select * from finish();
rollback;
