-- why a task cannot be treated so

begin;
select plan(10);

create temp table task as
select 'pending' as state, underway_test.ready_task() as id
union all
select 'succeeded', underway_test.finished_task('succeeded')
union all
select 'failed', underway_test.finished_task('failed')
union all
select 'cancelled', underway_test.finished_task('cancelled')
union all
select 'in_progress', (underway_test.held_task()).id;

select throws_ok(
    format($$ select underway._raise_wrong_state(%s, 'is polished', 'shiny') $$, task.id),
    'UW005', format('task %s is %s', task.id, task.state),
    format('the message names the task and that it is %s', task.state)
)
from task
order by task.state;

select is(
    underway_test.hint_of($$ select underway._raise_wrong_state(task.id, 'is polished', 'shiny') from task where state = 'failed' $$),
    'Only a task that is shiny is polished.',
    'the hint names the states that allow the operation'
);

select throws_ok(
    $$ select underway._raise_wrong_state(987654321, 'is polished', 'shiny') $$,
    'UW004', 'task 987654321 does not exist',
    'an unknown task is refused with its id'
);

select is(
    underway_test.hint_of($$ select underway._raise_wrong_state(987654321, 'is polished', 'shiny') $$),
    'It was deleted, its retention is over, its transaction was rolled back, or its transaction is not committed yet.',
    'the hint names the reasons for which a task is unknown'
);

insert into underway.moved_task (id, shard, moved_at, enqueued_at, queue)
values (987654320, 7, '2030-01-01 00:00+00', '2030-01-01', 'email');

select throws_like(
    $$ select underway._raise_wrong_state(987654320, 'is polished', 'shiny') $$,
    'task 987654320 was moved to shard 7 at %',
    'a task that was moved is refused with where it is'
);

select is(
    underway_test.detail_of($$ select underway._raise_wrong_state(987654320, 'is polished', 'shiny') $$)::jsonb,
    '{"shard": 7}',
    'the detail has the shard to which a task was moved, for programs'
);

select * from finish();
rollback;
