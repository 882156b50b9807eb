-- options of a task: what is refused, and when the task is ready

begin;
select plan(31);

-- the options of a task at noon, with none but those that are given

create function pg_temp.ready_at(
    queue text default 'email',
    delay interval default null,
    run_at timestamptz default null,
    priority integer default 0,
    retry_policy underway.retry_policy default null,
    timeout interval default null,
    heartbeat interval default null,
    retention interval default null,
    headers jsonb default null,
    expires interval default null,
    expires_at timestamptz default null
)
returns timestamptz language sql as $$
    select underway._check_options(
        ready_at.queue,
        row(
            null, ready_at.delay, ready_at.run_at, ready_at.priority, ready_at.expires, ready_at.expires_at, ready_at.retry_policy, ready_at.timeout,
            ready_at.heartbeat, ready_at.retention, ready_at.headers, 'return', null, 'finish', null, null, 'wait'
        )::underway.task_options,
        '2030-01-01 12:00:00+00'
    )
$$;

select underway.create_queue('email');

-- when it is ready

select is(pg_temp.ready_at(), '2030-01-01 12:00:00+00', 'a task without delay is ready now');

select is(pg_temp.ready_at(delay => '0'), '2030-01-01 12:00:00+00', 'a delay of nothing means now');

select is(
    pg_temp.ready_at(delay => '1 hour 0.000001 seconds'), '2030-01-01 13:00:00.000001+00',
    'a delay counts from now, to the microsecond'
);

select is(
    pg_temp.ready_at(run_at => '2030-06-01 08:30:00+02'), '2030-06-01 06:30:00+00',
    'a run_at in the future is when the task is ready'
);

select is(
    pg_temp.ready_at(run_at => '2030-01-01 11:59:59.999999+00'), '2030-01-01 12:00:00+00',
    'a run_at that has just passed means now'
);

select is(
    pg_temp.ready_at(run_at => '1970-01-01 00:00:00+00'), '2030-01-01 12:00:00+00', 'a run_at long ago means now'
);

select is(pg_temp.ready_at(run_at => '-infinity'), '2030-01-01 12:00:00+00', 'a run_at infinitely long ago means now');

select is(
    pg_temp.ready_at(run_at => '2130-01-01 12:00:00+00'), '2130-01-01 12:00:00+00',
    'a run_at in exactly a hundred years is accepted'
);

select throws_ok(
    $$ select pg_temp.ready_at(run_at => '2130-01-01 12:00:01+00') $$,
    'UW001', format('run_at %s is more than a hundred years away', '2130-01-01 12:00:01+00'::timestamptz),
    'a run_at further than a hundred years away is refused'
);

select throws_ok(
    $$ select pg_temp.ready_at(run_at => 'infinity') $$, 'UW001', 'run_at infinity is more than a hundred years away',
    'a run_at that never comes is refused'
);

select throws_ok(
    $$ select pg_temp.ready_at(delay => '1 minute', run_at => '2030-01-01 12:00:00+00') $$,
    'UW001', format('both delay 00:01:00 and run_at %s are given', '2030-01-01 12:00:00+00'::timestamptz),
    'a delay together with a run_at is refused with both'
);

-- what is refused

select throws_ok(
    $$ select pg_temp.ready_at(queue => 'fax') $$, 'UW003', $$queue 'fax' does not exist$$,
    'a queue that does not exist is refused by its name'
);

select is(
    underway_test.hint_of($$ select pg_temp.ready_at(queue => 'o''clock') $$),
    $$Create it first: select underway.create_queue('o''clock');$$,
    'the hint is the call that would create the queue, quotes and all'
);

select throws_ok(
    $$ select pg_temp.ready_at(queue => null) $$, 'UW001', 'neither a queue nor a job is given',
    'a queue that is null is refused'
);

select throws_ok(
    $$ select pg_temp.ready_at(priority => null) $$, 'UW001', 'priority is null', 'a priority that is null is refused'
);

select lives_ok(
    $$ select pg_temp.ready_at(priority => 100), pg_temp.ready_at(priority => -100) $$,
    'a priority from -100 to 100 is accepted'
);

select throws_ok(
    $$ select pg_temp.ready_at(priority => 101) $$, 'UW001', 'priority is 101', 'a priority above 100 is refused'
);

select lives_ok($$ select pg_temp.ready_at(headers => '{"trace": "1-2"}') $$, 'headers are an object');

select throws_ok(
    $$ select pg_temp.ready_at(headers => '["trace"]') $$, 'UW001', 'headers are a JSON array',
    'headers that are an array are refused'
);

select throws_ok(
    $$ select pg_temp.ready_at(headers => 'null') $$, 'UW001', 'headers are a JSON null',
    'headers that are the JSON null are refused'
);

select throws_ok(
    $$ select pg_temp.ready_at(delay => '-1 second') $$, 'UW001', 'delay is -00:00:01',
    'a negative delay is refused with its value'
);

select throws_ok(
    $$ select pg_temp.ready_at(delay => '101 years') $$, 'UW001', 'delay is 101 years',
    'a delay of more than a hundred years is refused'
);

select throws_ok(
    $$ select pg_temp.ready_at(timeout => '0') $$, 'UW001', 'timeout is 00:00:00', 'a timeout of nothing is refused'
);

select lives_ok($$ select pg_temp.ready_at(timeout => '1 millisecond') $$, 'the shortest timeout is a millisecond');

select throws_ok(
    $$ select pg_temp.ready_at(heartbeat => '99 milliseconds') $$, 'UW001', 'heartbeat is 00:00:00.099',
    'a heartbeat below a tenth of a second is refused'
);

select lives_ok(
    $$ select pg_temp.ready_at(heartbeat => '100 milliseconds') $$, 'the shortest heartbeat is a tenth of a second'
);

select throws_ok(
    $$ select pg_temp.ready_at(retention => '-1 day') $$, 'UW001', 'retention is -1 days', 'a negative retention is refused'
);

select lives_ok($$ select pg_temp.ready_at(retention => '0') $$, 'a retention of nothing is accepted');

select is(
    underway_test.hint_of($$ select pg_temp.ready_at(retention => '-1 day') $$),
    'Give a retention between 00:00:00 and 100 years.',
    'the hint gives the bounds of a length of time'
);

select throws_ok(
    $$ select pg_temp.ready_at(retry_policy => row(0, '1 s', '1 min', 2, 0.5)::underway.retry_policy) $$,
    'UW001', 'retry policy (0,00:00:01,00:01:00,2,0.5): max_attempts must be at least 1',
    'a retry policy without any attempt is refused'
);

select throws_ok(
    $$ select pg_temp.ready_at(retry_policy => row(5, '1 s', '1 min', 2, null)::underway.retry_policy) $$,
    'UW001', 'retry policy (5,00:00:01,00:01:00,2,): every part must be given',
    'a retry policy with a part missing is refused'
);

select * from finish();
rollback;
