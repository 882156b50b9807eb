-- a task that failed or was cancelled begins anew

begin;
select plan(28);

select underway_test.stop_clock();
select underway.create_queue('email');

create temp table task as
select underway.enqueue(
    'email', '{"to": "ferris@example.com"}', job => 'send_mail', priority => 7,
    retry_policy => underway.retry_policy(max_attempts => 2, initial_interval => '0'), timeout => '2 minutes',
    heartbeat => '20 seconds', retention => '5 days', headers => '{"trace": "1-2"}'
) as id;

create temp table original as select t.* from underway.task t join task on task.id = t.id;

select underway_test.advance_clock('1 minute');
select from underway.dequeue('email') as c, underway.fail(c.id, c.lease, '{"type": "E", "message": "first"}', retry_after => '0');
select underway_test.advance_clock('1 minute');
select from underway.dequeue('email') as c, underway.fail(c.id, c.lease, '"second"');

create temp table kept as select i.errors from task, underway.task_info(task.id) i;

select underway_test.advance_clock('1 hour');

select lives_ok($$ select underway.retry(task.id) from task $$, 'a failed task begins anew');

select is(
    (select to_jsonb(t) from underway.task t join task on task.id = t.id),
    (
        select to_jsonb(original) || jsonb_build_object(
            'ready_at', '2030-01-01 13:02:00+00'::timestamptz, 'errors', kept.errors, 'in_batch', true
        )
        from original, kept
    ),
    'a retried task is pending under its own id, ready now, with its input, its settings and all its attempts'
);

select is(i.errors, kept.errors, 'a retried task keeps its errors') from kept, task, underway.task_info(task.id) i;

select is_empty(
    $$ select from underway.task_history h join task on task.id = h.id $$, 'a retried task is not in the history'
);

create temp table claimed as select * from underway.dequeue('email');

select results_eq(
    $$ select claimed.id, claimed.attempt from claimed $$, $$ select task.id, 1 from task $$,
    'a retried task is claimed in attempt 1'
);

select underway_test.advance_clock('1 second');

select isnt(
    underway.fail(claimed.id, claimed.lease, '"third"', retry_after => '0'), null,
    'a retried task has all its attempts'
)
from claimed;

select is(
    (select array_agg((e ->> 'attempt') || ' ' || (e ->> 'message')) from jsonb_array_elements(i.errors) as e),
    array['1 first', '2 second', '1 third'], 'new errors follow on the earlier ones'
)
from task, underway.task_info(task.id) i;

select underway_test.advance_clock('1 second');
create temp table last_ as select * from underway.dequeue('email');
select underway.complete(last_.id, last_.lease, '"sent"') from last_;

select results_eq(
    $$ select i.state::text, i.output, jsonb_array_length(i.errors) from task, underway.task_info(task.id) i $$,
    $$ values ('succeeded', '"sent"'::jsonb, 3) $$,
    'a retried task that succeeds keeps all its errors'
);

-- a cancelled one

create temp table cancelled as select * from underway_test.held_task();
select underway.cancel(cancelled.id) from cancelled;
select underway.retry(cancelled.id) from cancelled;

select results_eq(
    $$ select i.state::text, i.attempt, i.errors, i.started_at, i.lease_expires_at from cancelled, underway.task_info(cancelled.id) i $$,
    $$ values ('pending', 0, null::jsonb, null::timestamptz, null::timestamptz) $$,
    'a cancelled task begins anew, without errors where it had none'
);

select throws_ok(
    $$ select underway.complete(cancelled.id, cancelled.lease) from cancelled $$, 'UW002', null,
    'the holder from before the cancellation is refused'
);

create temp table cancelled_claim as select * from underway.dequeue('email');

select throws_ok(
    $$ select underway.complete(cancelled.id, cancelled.lease) from cancelled $$, 'UW002', null,
    'the holder from before the cancellation is refused while the task runs again'
);

select underway.complete(cancelled_claim.id, cancelled_claim.lease) from cancelled_claim;

select is(i.errors, null, 'a retried task that was cancelled may succeed without errors') from cancelled, underway.task_info(cancelled.id) i;

-- again and again

create temp table stubborn as select underway_test.finished_task('failed') as id;

create function pg_temp.retry_and_fail(times integer) returns void language plpgsql as $$
declare
    v_claimed underway.claimed_task;
begin
    for v_time in 1..retry_and_fail.times loop
        perform underway_test.advance_clock('1 second');
        perform underway.retry(stubborn.id) from stubborn;
        select c.* into strict v_claimed from underway.dequeue('email') as c;
        perform underway.fail(v_claimed.id, v_claimed.lease, to_jsonb('retry ' || v_time), retryable => false);
    end loop;
end;
$$;

select pg_temp.retry_and_fail(3);

select is(
    (select array_agg(e ->> 'message') from jsonb_array_elements(i.errors) as e), array['refused', 'retry 1', 'retry 2', 'retry 3'],
    'a task may be retried again and again, and keeps the errors of all its lives'
)
from stubborn, underway.task_info(stubborn.id) i;

select pg_temp.retry_and_fail(30);

select is(jsonb_array_length(i.errors), 20, 'a task that is retried often keeps at most twenty errors') from stubborn, underway.task_info(stubborn.id) i;

-- order

select underway.enqueue('email', '"newer"');
select underway_test.advance_clock('1 second');
select underway.retry(stubborn.id) from stubborn;

select results_eq(
    $$ select c.input from underway.dequeue('email', 2) as c $$,
    $$ values ('"newer"'::jsonb), ('{"to": "ferris@example.com"}') $$,
    'a retried task is ready since the retry, not since its enqueueing'
);

-- one that is kept for longer than the ring reaches

create temp table long as select * from underway_test.held_task();
update underway.task t set retention = '1 year' where t.id = (select long.id from long);
select underway.fail(long.id, long.lease, '"x"', retryable => false) from long;
select underway.retry(long.id) from long;

select is(underway_test.state_of(long.id), 'pending', 'a task with a long time to live can be retried') from long;

-- refusals

create temp table unfit as
select 'pending' as state, underway_test.ready_task() as id
union all
select 'in_progress', (underway_test.held_task()).id
union all
select 'succeeded', underway_test.finished_task('succeeded');

select throws_ok(
    format('select underway.retry(%s)', unfit.id), 'UW005', format('task %s is %s', unfit.id, unfit.state),
    format('a task that is %s is refused', unfit.state)
)
from unfit;

select is(underway_test.state_of(unfit.id), unfit.state, format('it is still %s', unfit.state)) from unfit;

select is(
    underway_test.hint_of('select underway.retry(unfit.id) from unfit where unfit.state = ''succeeded'''),
    'Only a task that is failed or cancelled is retried.', 'the hint says which tasks can be'
);

select throws_ok(
    'select underway.retry(987654321)', 'UW004', 'task 987654321 does not exist',
    'a task that does not exist is refused'
);

select throws_ok('select underway.retry(null)', 'UW004', null, 'null is refused');

create temp table orphan as select underway_test.finished_task('failed', 'dropped') as id;
select underway.drop_queue('dropped');

select throws_ok(
    $$ select underway.retry(orphan.id) from orphan $$, 'UW003', $$queue 'dropped' does not exist$$,
    'a task whose queue was dropped is refused'
);

select is(underway_test.state_of(orphan.id), 'failed', 'a refused retry leaves the task in the history') from orphan;

select underway.create_queue('dropped');
select underway.retry(orphan.id) from orphan;

select is(
    (select c.id from underway.dequeue('dropped') as c), orphan.id, 'the retry succeeds when the queue exists again'
)
from orphan;

select * from finish();
rollback;
