begin;
select plan(22);

select underway_test.stop_clock();

create temp table task as select underway_test.ready_task() as id;
create temp table before as select t.* from underway.task t;

select is(
    underway.reschedule(task.id, '2030-01-01 15:00:00+02'), '2030-01-01 13:00:00+00',
    'rescheduling a pending task returns its new time'
)
from task;

select is(
    (select to_jsonb(t) from underway.task t),
    (select to_jsonb(before) || jsonb_build_object('ready_at', '2030-01-01 13:00:00+00'::timestamptz) from before),
    'a rescheduled task changes only its time'
);

select underway_test.stop_clock('2030-01-01 12:59:59.999999+00');

select is_empty($$ select * from underway.dequeue('email') $$, 'a rescheduled task is not claimed before its new time');

select is(
    underway.reschedule(task.id, '2030-01-01 12:59:00+00'), '2030-01-01 12:59:59.999999+00',
    'a time in the past means now'
)
from task;

select is((select claimed.id from underway.dequeue('email') as claimed), task.id, 'a task that was rescheduled to the past is ready') from task;

-- extreme times

create temp table far as select underway_test.ready_task('other') as id;
select underway_test.stop_clock();

select is(underway.reschedule(far.id, '-infinity'), '2030-01-01 12:00:00+00', '-infinity means now') from far;

select is(
    underway.reschedule(far.id, '2130-01-01 12:00:00+00'), '2130-01-01 12:00:00+00',
    'a time in a hundred years is accepted'
)
from far;

select throws_ok(
    $$ select underway.reschedule(far.id, '2130-01-01 12:00:01+00') from far $$,
    'UW001', format('run_at is %s', '2130-01-01 12:00:01+00'::timestamptz), 'a time in more than a hundred years is refused'
);

select throws_ok(
    $$ select underway.reschedule(far.id, 'infinity') from far $$, 'UW001', 'run_at is infinity', 'infinity is refused'
);

select throws_ok($$ select underway.reschedule(far.id, null) from far $$, 'UW001', 'run_at is null', 'a null time is refused');

select is(
    underway_test.hint_of($$ select underway.reschedule(far.id, null) from far $$),
    'Give a time within the next 100 years; a time in the past means now.', 'the hint gives the bounds'
);

select is(
    i.ready_at, '2130-01-01 12:00:00+00', 'a refused call changes nothing'
)
from far, underway.task_info(far.id) i;

-- a task that waits for its next attempt

create temp table held as select * from underway_test.held_task('hurried');
select underway.fail(held.id, held.lease, '"x"', retry_after => '1 hour') from held;
select underway.reschedule(held.id, underway._clock()) from held;

select results_eq(
    $$ select claimed.id, claimed.attempt from underway.dequeue('hurried') as claimed $$,
    $$ select held.id, 2 from held $$,
    'the next attempt of a failed task can be rescheduled to now'
);

-- order

select underway.create_queue('ordered');
create temp table ordered as
select number, underway.enqueue('ordered', to_jsonb(number)) as id from generate_series(1, 3) as number;
select underway_test.advance_clock('1 minute');
select underway.reschedule(ordered.id, '2000-01-01 00:00:00+00') from ordered where ordered.number = 1;

select results_eq(
    $$ select claimed.input::integer from underway.dequeue('ordered', 3) as claimed $$, array[2, 3, 1],
    'a task that is rescheduled to the past is claimed after the tasks that are ready'
);

-- errors

create temp table unfit as
select 'in_progress' as state, (underway_test.held_task()).id
union all
select 'waiting', underway_test.ready_task()
union all
select 'succeeded', underway_test.finished_task('succeeded')
union all
select 'failed', underway_test.finished_task('failed')
union all
select 'cancelled', underway_test.finished_task('cancelled');

update underway.task t set state = 'waiting' where t.id = (select unfit.id from unfit where unfit.state = 'waiting');

select throws_ok(
    format($$ select underway.reschedule(%s, '2031-01-01') $$, unfit.id), 'UW005',
    format('task %s is %s', unfit.id, unfit.state),
    format('a task that is %s is refused', unfit.state)
)
from unfit;

select is(
    underway_test.hint_of($$ select underway.reschedule(unfit.id, '2031-01-01') from unfit where unfit.state = 'failed' $$),
    'Only a task that is pending can be rescheduled.', 'the hint says which tasks can be rescheduled'
);

select throws_ok(
    $$ select underway.reschedule(987654321, '2031-01-01') $$, 'UW004', 'task 987654321 does not exist',
    'a task that does not exist is refused'
);

select throws_ok($$ select underway.reschedule(null, '2031-01-01') $$, 'UW004', null, 'a null task is refused');

select * from finish();
rollback;
