-- the holder reports a failed attempt

begin;
select plan(22);

select underway_test.stop_clock();
select underway.create_queue(
    'email', retry_policy => underway.retry_policy(max_attempts => 3, initial_interval => '10 seconds', jitter => 0)
);

-- attempts are left

create temp table held as select * from underway_test.held_task();
select underway_test.advance_clock('5 seconds');

select is(
    underway.fail(held.id, held.lease, '{"type": "SMTPError", "message": "refused", "traceback": "line 1"}'),
    '2030-01-01 12:00:15+00', 'a failed attempt returns when the task will be tried again'
)
from held;

select results_eq(
    $$
        select i.state::text, i.ready_at, i.attempt, i.started_at, i.lease_expires_at, i.finished_at, i.enqueued_at
        from held, underway.task_info(held.id) i
    $$,
    $$
        values (
            'pending', '2030-01-01 12:00:15+00'::timestamptz, 1, null::timestamptz, null::timestamptz, null::timestamptz,
            '2030-01-01 12:00:00+00'::timestamptz
        )
    $$,
    'a failed attempt counts, and its task is pending until the retry'
);

select is(
    i.errors,
    jsonb_build_array(jsonb_build_object(
        'type', 'SMTPError', 'message', 'refused', 'traceback', 'line 1', 'attempt', 1,
        'started_at', '2030-01-01 12:00:00+00'::timestamptz, 'failed_at', '2030-01-01 12:00:05+00'::timestamptz
    )),
    'the error is stored with the attempt and its times'
)
from held, underway.task_info(held.id) i;

select throws_ok(
    $$ select underway.fail(held.id, held.lease, '"again"') from held $$,
    'UW002', format('task %s is not held under lease %s; it is pending', held.id, held.lease),
    'failing the attempt again is refused'
)
from held;

select underway_test.advance_clock('9.999999 seconds');

select is_empty($$ select * from underway.dequeue('email') $$, 'a retry is not claimed before its time');

select underway_test.advance_clock('0.000001 seconds');

create temp table second as select * from underway.dequeue('email');

select is(array[second.id, second.attempt], array[held.id, 2], 'a retry is claimed at its time as the next attempt')
from held, second;

-- the last attempt

select underway.fail(second.id, second.lease, '"second"') from second;
select underway_test.advance_clock('20 seconds');

create temp table third as select * from underway.dequeue('email');

select is(
    underway.fail(third.id, third.lease, '"third"'), null, 'the failure of the last attempt returns no time'
)
from third;

select results_eq(
    $$ select i.state::text, i.attempt, i.finished_at, i.kept_until, i.output, i.input from held, underway.task_info(held.id) i $$,
    $$
        values (
            'failed', 3, '2030-01-01 12:00:35+00'::timestamptz, '2030-01-15 12:00:35+00'::timestamptz, null::jsonb,
            '{"to": "ferris@example.com"}'::jsonb
        )
    $$,
    'the task has failed for good'
);

select is(
    (select array_agg((error ->> 'attempt') || ' ' || (error ->> 'message')) from jsonb_array_elements(i.errors) as error),
    array['1 refused', '2 second', '3 third'], 'a failed task has the error of each attempt'
)
from held, underway.task_info(held.id) i;

select underway_test.advance_clock('1 year');

select is_empty($$ select * from underway.dequeue('email') $$, 'a failed task is never claimed again');

-- an error that no retry mends

create temp table fatal as select * from underway_test.held_task();

select is(
    underway.fail(fatal.id, fatal.lease, '{"type": "ValueError", "message": "no address"}', retryable => false), null,
    'a fatal error returns no time'
)
from fatal;

select is(i.state::text || ' in attempt ' || i.attempt, 'failed in attempt 1', 'a fatal error skips the remaining attempts')
from fatal, underway.task_info(fatal.id) i;

select is(
    i.errors #>> '{0,message}', 'no address', 'a fatal error is kept like any other'
)
from fatal, underway.task_info(fatal.id) i;

create temp table fatal_later as select * from underway_test.held_task();

select is(
    underway.fail(fatal_later.id, fatal_later.lease, '"x"', retryable => false, retry_after => '1 minute'), null,
    'a fatal error cannot be put off'
)
from fatal_later;

create temp table undecided as select * from underway_test.held_task();

select isnt(
    underway.fail(undecided.id, undecided.lease, '"x"', retryable => null), null, 'a null retryable means retryable'
)
from undecided;

-- a policy of its own, and one that changes

create temp table own as select * from underway_test.held_task(attempt => 3);
update underway.task t set retry_policy = underway.retry_policy(4, '1 minute', '1 hour', 1, 0) where t.id = (select own.id from own);

select is(
    underway.fail(own.id, own.lease, '"x"'), underway._clock() + interval '1 minute',
    'the policy of a task wins over that of its queue'
)
from own;

create temp table backlog as select * from underway_test.held_task(attempt => 3);
select underway.create_queue('email', retry_policy => underway.retry_policy(4, '7 seconds', '1 hour', 1, 0));

select is(
    underway.fail(backlog.id, backlog.lease, '"x"'), underway._clock() + interval '7 seconds',
    'changing a queue changes its backlog'
)
from backlog;

-- refusals

create temp table other as select * from underway_test.held_task();

select throws_ok(
    $$ select underway.fail(other.id, gen_random_uuid(), '"x"') from other $$, 'UW002', null, 'a wrong lease is refused'
);

select throws_ok(
    $$ select underway.fail(other.id, null, '"x"') from other $$, 'UW001',
    format('the lease of task %s is null', other.id),
    'a lease that is null is refused'
)
from other;

select throws_ok(
    $$ select underway.fail(other.id, other.lease, '"x"', retry_after => '-1 second') from other $$,
    'UW001', 'retry_after is -00:00:01', 'a negative retry_after is refused'
);

select throws_ok(
    $$ select underway.fail(other.id, other.lease, '"x"', retry_after => '101 years') from other $$,
    'UW001', 'retry_after is 101 years', 'a retry_after that nobody will see is refused'
);

select results_eq(
    $$ select i.state::text, i.errors from other, underway.task_info(other.id) i $$,
    $$ values ('in_progress', null::jsonb) $$,
    'a refused failure leaves the task running, and keeps no error'
);

select * from finish();
rollback;
