-- a live task is cancelled at once

begin;
select plan(21);

select underway_test.stop_clock();

create temp table pending as select underway_test.ready_task() as id;

select ok(underway.cancel(pending.id), 'a pending task is cancelled') from pending;

select results_eq(
    $$ select i.state::text, i.finished_at, i.output, i.input from pending, underway.task_info(pending.id) i $$,
    $$ values ('cancelled', '2030-01-01 12:00:00+00'::timestamptz, null::jsonb, '{"to": "ferris@example.com"}'::jsonb) $$,
    'a cancelled task is in the history with its input'
);

select is_empty($$ select * from underway.dequeue('email') $$, 'nobody claims it any more');

select ok(not underway.cancel(pending.id), 'cancelling it again changes nothing, and says so') from pending;

select is(
    (select count(*) from underway.task_history h join pending on pending.id = h.id), 1::bigint,
    'a task that is cancelled twice is in the history once'
);

-- one that is due later

create temp table later as select underway.enqueue('email', delay => '1 day') as id;

select ok(underway.cancel(later.id), 'a task that is not due yet is cancelled') from later;

-- one that waits

create temp table waiting as select underway_test.ready_task() as id;
update underway.task t set state = 'waiting' where t.id = (select waiting.id from waiting);

select ok(underway.cancel(waiting.id), 'a waiting task is cancelled') from waiting;
select is(underway_test.state_of(waiting.id), 'cancelled', 'a running task is cancelled at once') from waiting;

-- one that runs

create temp table held as select * from underway_test.held_task(attempt => 3);
select underway_test.advance_clock('10 seconds');

select ok(underway.cancel(held.id), 'a running task is cancelled') from held;

select results_eq(
    $$ select i.state::text, i.attempt, i.started_at from held, underway.task_info(held.id) i $$,
    $$ values ('cancelled', 3, '2030-01-01 12:00:00+00'::timestamptz) $$,
    'a cancelled task keeps its attempt and its start'
);

select is_empty(
    $$ select underway.heartbeat(array[held.id], array[held.lease]) from held $$,
    'the next heartbeat of its holder says that it is lost'
);

select throws_ok(
    $$ select underway.complete(held.id, held.lease, '"too late"') from held $$,
    'UW002', format('task %s is not held under lease %s; it is cancelled', held.id, held.lease),
    'the result of its holder is refused, with the reason'
)
from held;

-- its errors

create temp table tried as select * from underway_test.held_task();
select underway.fail(tried.id, tried.lease, '"first"') from tried;
select underway.cancel(tried.id) from tried;

select is(i.errors #>> '{0,message}', 'first', 'a cancelled task keeps the errors of its attempts')
from tried, underway.task_info(tried.id) i;

-- what is final, or unknown

create temp table finished as
select 'succeeded' as state, underway_test.finished_task('succeeded') as id
union all
select 'failed', underway_test.finished_task('failed');

select ok(
    not underway.cancel(finished.id), format('a task that has %s is not cancelled', finished.state)
)
from finished;

select is(underway_test.state_of(finished.id), finished.state, format('it still is %s', finished.state)) from finished;

select ok(not underway.cancel(987654321), 'a task that does not exist is not cancelled');

select ok(not underway.cancel(null), 'null is not cancelled');

-- a cancelled task is no failure

select underway.create_queue('letters');
select underway.create_queue('email', dead_letter_queue => 'letters');
create temp table lettered as select * from underway_test.held_task();
select underway.cancel(lettered.id) from lettered;

select is_empty($$ select from underway.task t where t.queue = 'letters' $$, 'a cancelled task leaves no dead letter');

-- others

create temp table neighbour as select * from underway_test.held_task('other');
select underway.cancel(lettered.id) from lettered;

select is(underway_test.state_of(neighbour.id), 'in_progress', 'other tasks run on') from neighbour;

select * from finish();
rollback;
