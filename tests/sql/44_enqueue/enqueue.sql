-- a new task

begin;
select plan(24);

select underway_test.stop_clock();
select underway.create_queue('email');

-- bare

create temp table bare as select underway.enqueue('email') as id;

select is(
    (select jsonb_strip_nulls(to_jsonb(t) - 'id') from underway.task t join bare on bare.id = t.id),
    jsonb_build_object(
        'queue', 'email', 'input', '{}'::jsonb, 'state', 'pending', 'priority', 0, 'attempt', 0,
        'ready_at', '2030-01-01 12:00:00+00'::timestamptz, 'enqueued_at', '2030-01-01 12:00:00+00'::timestamptz,
        'watched', false, 'in_batch', false, 'parked', false, 'holds_slot', false
    ),
    'a task without options has an empty input and priority 0, is ready now, and takes all other settings from its queue'
);

-- with everything

create temp table full_task as
select underway.enqueue(
    'email',
    '{"to": "ferris@example.com"}',
    job => 'send_mail',
    delay => '10 minutes',
    priority => 7,
    retry_policy => underway.retry_policy(max_attempts => 9, jitter => 0),
    timeout => '2 minutes',
    heartbeat => '20 seconds',
    retention => '5 days',
    headers => '{"trace": "1-2"}'
) as id;

select results_eq(
    $$
        select t.input, t.job, t.ready_at, t.enqueued_at, t.priority, t.retry_policy::text, t.timeout, t.heartbeat, t.retention,
            t.headers, t.state::text
        from underway.task t
        join full_task on full_task.id = t.id
    $$,
    $$
        values (
            '{"to": "ferris@example.com"}'::jsonb, 'send_mail', '2030-01-01 12:10:00+00'::timestamptz,
            '2030-01-01 12:00:00+00'::timestamptz, 7, '(9,00:00:01,00:01:00,2,0)', interval '2 minutes',
            interval '20 seconds', interval '5 days', '{"trace": "1-2"}'::jsonb, 'pending'
        )
    $$,
    'a task keeps each option that is given'
);

create temp table at_time as select underway.enqueue('email', run_at => '2030-02-01 00:00:00+00') as id;

select is(
    i.ready_at, '2030-02-01 00:00:00+00', 'a run_at is when it is ready'
)
from at_time, underway.task_info(at_time.id) i;

create temp table past as select underway.enqueue('email', run_at => '2029-02-01 00:00:00+00') as id;

select is(
    i.ready_at, '2030-01-01 12:00:00+00', 'a run_at in the past means now'
)
from past, underway.task_info(past.id) i;

-- ids

select ok(
    bare.id < full_task.id and full_task.id < at_time.id and at_time.id < past.id, 'ids ascend'
)
from bare, full_task, at_time, past;

-- inputs come out as they went in

create temp table input as
select given.value, underway.enqueue('email', given.value) as id
from unnest(array[
    'null', 'true', '0', '1e100', '"text"', '[]', '[1, [2]]', '{"a": {"b": null}}', '"\u00e4 \ud83d\ude80 \" \\ \n"',
    '"''; drop table underway.task; --"'
]::jsonb[]) as given (value);

select is_empty(
    $$ select input.value from input, underway.task_info(input.id) i where i.input is distinct from input.value $$,
    'any JSON is an input, and comes out as it went in'
);

-- one transaction

create function pg_temp.enqueue_and_fail() returns void language plpgsql as $$
begin
    perform underway.enqueue('email', '"rolled back"');
    raise exception 'the caller fails';
end;
$$;

select throws_ok('select pg_temp.enqueue_and_fail()', 'P0001', 'the caller fails', 'a caller fails after it enqueued');

select is_empty($$ select from underway.task t where t.input = '"rolled back"' $$, 'rolled back, there is no task');

-- a paused queue takes tasks

select underway.pause_queue('email');

select lives_ok($$ select underway.enqueue('email') $$, 'a paused queue takes tasks');

-- refusals

create temp table before as select count(*) from underway.task;

select throws_ok(
    $$ select underway.enqueue('fax') $$, 'UW003', $$queue 'fax' does not exist$$,
    'a queue that does not exist is refused'
);

select is(
    underway_test.hint_of($$ select underway.enqueue('fax') $$), $$Create it first: select underway.create_queue('fax');$$,
    'the hint is the call that would create it'
);

select throws_ok($$ select underway.enqueue(null) $$, 'UW001', null, 'neither a queue nor a job is refused');

select throws_ok(
    $$ select underway.enqueue('email', null) $$, 'UW001', 'input 1 is null', 'an input that is null is refused'
);

select throws_ok(
    $$ select underway.enqueue('email', to_jsonb(repeat('a', 1048575))) $$,
    'UW007', 'input 1 has 1048577 bytes of text; the limit is 1048576',
    'an input that is too large is refused with its size and the limit'
);

select throws_ok(
    $$ select underway.enqueue('email', delay => '1 minute', run_at => '2030-01-01 12:00:00+00') $$, 'UW001', null,
    'a delay together with a run_at is refused'
);

select throws_ok($$ select underway.enqueue('email', delay => '-1 s') $$, 'UW001', null, 'a negative delay is refused');

select throws_ok(
    $$ select underway.enqueue('email', priority => 101) $$, 'UW001', null, 'a priority above 100 is refused'
);

select throws_ok(
    $$ select underway.enqueue('email', timeout => '0') $$, 'UW001', null, 'a timeout of nothing is refused'
);

select throws_ok(
    $$ select underway.enqueue('email', heartbeat => '0') $$, 'UW001', null, 'a heartbeat of nothing is refused'
);

select throws_ok($$ select underway.enqueue('email', retention => '-1 s') $$, 'UW001', null, 'a negative retention is refused');

select throws_ok(
    $$ select underway.enqueue('email', headers => '[]') $$, 'UW001', null, 'headers that are no object are refused'
);

select throws_ok(
    $$ select underway.enqueue('email', retry_policy => row(0, '1 s', '1 s', 2, 0)::underway.retry_policy) $$, 'UW001',
    null,
    'a retry policy that cannot be is refused'
);

select is((select count(*) from underway.task), before.count, 'a refused task is not there') from before;

select throws_ok(
    $$ select underway.enqueue('email', retry_policy => row(5, null, '1 s', 2, 0)::underway.retry_policy) $$, 'UW001',
    null,
    'a retry policy with a part missing is refused'
);

select * from finish();
rollback;
