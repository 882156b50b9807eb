begin;
select plan(17);

create function pg_temp.claimed(max_tasks integer default 100) returns text[] language sql as $$
    select coalesce(array_agg(claimed.input #>> '{}'), '{}') from underway.dequeue('email', claimed.max_tasks) as claimed
$$;

select underway_test.stop_clock();
select underway.create_queue('email');

create temp table task as
select 'a' as name, underway.enqueue('email', '"a"', job => 'send') as id
union all
select 'b', underway.enqueue('email', '"b"')
union all
select 'c', underway.enqueue('email', '"c"')
union all
select 'd', underway.enqueue('email', '"d"');

create temp table before as select t.* from underway.task t join task on task.id = t.id;

select underway_test.advance_clock('1 minute');

select lives_ok(
    $$ select underway.reprioritize(task.id, 50) from task where task.name = 'c' $$,
    'a pending task can be reprioritized'
);
select underway.reprioritize(task.id, -50) from task where task.name = 'a';

select results_eq(
    $$ select to_jsonb(t) from underway.task t order by t.id $$,
    $$
        select to_jsonb(before) || case task.name
            when 'c' then jsonb_build_object('priority', 50, 'ready_at', underway._clock())
            when 'a' then jsonb_build_object('priority', -50, 'ready_at', underway._clock())
            else '{}'
        end
        from before
        join task on task.id = before.id
        order by before.id
    $$,
    'a reprioritized task has the new priority and is ready from now; nothing else changes'
);

select is(
    pg_temp.claimed(), array['c', 'b', 'd', 'a'],
    'claims follow the new priorities, also those that the queue has not had before'
);

-- a task that is not due

create temp table later as select underway.enqueue('email', '"later"', delay => '1 hour') as id;
select underway.reprioritize(later.id, 7) from later;

select is(pg_temp.claimed(), '{}', 'a task that is not due is not due after it was reprioritized');

select underway_test.advance_clock('1 hour');
select underway.enqueue('email', '"now"', priority => 6);

select is(pg_temp.claimed(), array['later', 'now'], 'a task that was reprioritized before it was due is claimed at its new priority');

-- the order within the new priority

select underway.enqueue('email', '"old"') as id;
select underway_test.advance_clock('1 minute');
select underway.enqueue('email', '"first at 5"', priority => 5);
select underway_test.advance_clock('1 minute');
select underway.reprioritize(t.id, 5) from underway.task t where t.input = '"old"';

select is(
    pg_temp.claimed(), array['first at 5', 'old'], 'a reprioritized task is claimed after the tasks of its new priority that were ready'
);

-- extremes

create temp table extreme as select underway.enqueue('email', '"x"') as id;

select lives_ok(
    $$ select underway.reprioritize(extreme.id, 100), underway.reprioritize(extreme.id, -100) from extreme $$,
    'a priority from -100 to 100 is accepted'
);

select throws_ok(
    $$ select underway.reprioritize(extreme.id, 101) from extreme $$, 'UW001', 'priority is 101',
    'a priority above 100 is refused'
);

-- errors

select throws_ok(
    $$ select underway.reprioritize(extreme.id, null) from extreme $$, 'UW001', 'priority is null',
    'a priority that is null is refused'
);

create temp table unfit as
select 'in_progress' as state, task.id from task where task.name = 'a'
union all
select 'succeeded', underway_test.finished_task('succeeded', 'other')
union all
select 'failed', underway_test.finished_task('failed', 'other')
union all
select 'cancelled', underway_test.finished_task('cancelled', 'other');

select throws_ok(
    format('select underway.reprioritize(%s, 9)', unfit.id), 'UW005', format('task %s is %s', unfit.id, unfit.state),
    format('a task that is %s is refused', unfit.state)
)
from unfit;

select is(
    underway_test.hint_of('select underway.reprioritize(unfit.id, 9) from unfit where state = ''in_progress'''),
    'Only a task that is pending can be reprioritized.', 'the hint says which tasks can be reprioritized'
);

select is(
    i.priority, -50, 'a refused task keeps its priority'
)
from unfit, underway.task_info(unfit.id) i where unfit.state = 'in_progress';

select throws_ok(
    'select underway.reprioritize(987654321, 9)', 'UW004', 'task 987654321 does not exist',
    'a task that does not exist is refused'
);

select throws_ok('select underway.reprioritize(null, 9)', 'UW004', null, 'a null task is refused');

select * from finish();
rollback;
