-- tasks from objects, each with its own options

begin;
select plan(34);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.create_queue('sms');

create temp table added as
select id, place
from
    underway.enqueue_many($$ [
        {"queue": "email"},
        {
            "queue": "sms",
            "input": {"to": "+41"},
            "job": "send",
            "delay": "10 minutes",
            "priority": -7,
            "retry_policy": {"max_attempts": 9, "initial_interval": "2 s", "max_interval": "3 min", "factor": 1.5, "jitter": 0},
            "timeout": "2 minutes",
            "heartbeat": "20 seconds",
            "retention": "5 days",
            "headers": {"trace": "1-2"}
        },
        {"queue": "email", "input": null, "run_at": "2030-01-01T14:00:00+02:00"},
        {"queue": "email", "input": [1], "run_at": "2030-02-01T00:00:00Z", "retry_policy": {"max_attempts": 2}},
        {
            "queue": "email", "input": 5, "job": null, "delay": null, "run_at": null, "priority": null, "retry_policy": null,
            "timeout": null, "heartbeat": null, "retention": null, "headers": null
        },
        {"queue": "email", "input": 6, "retry_policy": {}}
    ] $$) as ids,
    unnest(ids) with ordinality as given (id, place);

select results_eq(
    $$
        select added.place, t.queue::text collate "default", t.input, t.job, t.priority, t.ready_at, t.retry_policy::text, t.timeout,
            t.heartbeat, t.retention, t.headers
        from added
        join underway.task t on t.id = added.id
        order by added.place
    $$,
    $$
        values
            (1::bigint, 'email', '{}'::jsonb, null::text, 0, '2030-01-01 12:00:00+00'::timestamptz, null::text,
                null::interval, null::interval, null::interval, null::jsonb),
            (2, 'sms', '{"to": "+41"}', 'send', -7, '2030-01-01 12:10:00+00', '(9,00:00:02,00:03:00,1.5,0)',
                '2 minutes', '20 seconds', '5 days', '{"trace": "1-2"}'),
            (3, 'email', 'null', null, 0, '2030-01-01 12:00:00+00', null, null, null, null, null),
            (4, 'email', '[1]', null, 0, '2030-02-01 00:00:00+00', '(2,00:00:01,00:01:00,2,0.5)', null, null, null, null),
            (5, 'email', '5', null, 0, '2030-01-01 12:00:00+00', null, null, null, null, null),
            (6, 'email', '6', null, 0, '2030-01-01 12:00:00+00', '(5,00:00:01,00:01:00,2,0.5)', null, null, null, null)
    $$,
    'each object is a task with its own queue and options; an option that is missing or null has the default of enqueue'
);

select results_eq(
    $$ select added.place from added order by added.id $$, $$ select generate_series(1, 6)::bigint $$,
    'the ids come in the order of the objects, and ascend'
);

select is(underway.enqueue_many('[]'::jsonb), '{}', 'an empty array gives no ids');

-- order

select underway.create_queue('ordered');
select underway.enqueue_many((
    select jsonb_agg(jsonb_build_object('queue', 'ordered', 'input', number) order by number) from generate_series(1, 100) as number
));

select results_eq(
    $$ select claimed.input::integer from underway.dequeue('ordered', 100) as claimed $$,
    $$ select generate_series(1, 100) $$,
    'the tasks are claimed in the order of the objects'
);

-- keys

create temp table keyed as
select *
from
    underway.enqueue_many($$ [
        {"queue": "email", "input": 1, "unique_key": "a", "concurrency_key": "c"},
        {"queue": "email", "input": 2, "unique_key": "a"},
        {"queue": "email", "input": 3, "unique_key": "a", "on_conflict": "replace"},
        {"queue": "email", "input": 4, "unique_key": "b", "unique_for": "1 hour", "concurrency_key": "c"},
        {"queue": "email", "input": 5, "unique_key": null, "on_conflict": null, "unique_for": null, "concurrency_key": null},
        {"queue": "email", "input": 6, "unique_key": "d", "unique_until": "start"}
    ] $$) as ids,
    unnest(ids) with ordinality as given (id, place);

select results_eq(
    $$
        select k.place, t.input, t.unique_key::text collate "default", t.concurrency_key::text collate "default",
            t.unique_until_start is not null
        from keyed k
        join underway.task t on t.id = k.id
        order by k.place
    $$,
    $$
        values (1::bigint, '3'::jsonb, 'a', null, false), (2, '3', 'a', null, false), (3, '3', 'a', null, false),
            (4, '4', 'b', 'c', false), (5, '5', null, null, false), (6, '6', 'd', null, true)
    $$,
    'each object has its own keys; if its unique key is taken, the id of the holder is returned'
);

select is(
    h.expires_at, '2030-01-01 13:00:00+00', 'a key may be taken for a time'
)
from underway.unique_reservation h, keyed where keyed.place = 4 and h.task = keyed.id;

-- all or nothing

create temp table before as select count(*) from underway.task;

select throws_ok(
    $$ select underway.enqueue_many('{"queue": "email"}'::jsonb) $$, 'UW001', 'tasks are a JSON object',
    'an object in place of the array is refused'
);

select throws_ok(
    $$ select underway.enqueue_many(null::jsonb) $$, 'UW001', 'tasks are a JSON nothing', 'null is refused'
);

select is(
    underway_test.hint_of($$ select underway.enqueue_many('"email"'::jsonb) $$),
    'Give an array of objects, such as [{"queue": "email", "input": {"to": "a@example.com"}}].',
    'the hint shows an array'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email"}, "email"]'::jsonb) $$, 'UW001', 'task 2 is a JSON string',
    'a task that is no object is refused with its place'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email"}, {"queue": "email", "prioritty": 1}]'::jsonb) $$,
    'UW001', $$task 2 has the unknown option 'prioritty'$$,
    'an unknown option is refused with its name and the place of its task'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email", "retry_policy": {"attempts": 3}}]'::jsonb) $$,
    'UW001', $$task 1 has the unknown option 'retry_policy.attempts'$$,
    'an unknown part of a retry policy is refused'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email", "retry_policy": {"max_attempts": 0}}]'::jsonb) $$,
    'UW001', null, 'a retry policy that cannot be is refused'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email", "retry_policy": 3}]'::jsonb) $$,
    'UW001', null, 'a retry policy that is no object is refused'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email"}, {"queue": "fax"}]'::jsonb) $$,
    'UW003', $$queue 'fax' does not exist$$, 'a queue that does not exist is refused'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email"}, {"input": 1}]'::jsonb) $$,
    'UW001', null, 'a task without a queue and a job is refused'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email", "delay": "1 s", "run_at": "2030-01-01T12:00:00Z"}]'::jsonb) $$,
    'UW001', null, 'a delay together with a run_at is refused'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email", "headers": []}]'::jsonb) $$,
    'UW001', 'headers are a JSON array', 'headers that are no object are refused'
);

select throws_ok(
    $$
        select underway.enqueue_many(
            jsonb_build_array('{"queue": "email"}'::jsonb, jsonb_build_object('queue', 'email', 'input', repeat('a', 1048575)))
        )
    $$,
    'UW007', 'input 2 has 1048577 bytes of text; the limit is 1048576',
    'an input that is too large is refused with its place and its size'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email"}, {"queue": "email", "unique_key": "a", "on_conflict": "error"}]'::jsonb) $$,
    'UW010', null, 'a key that is taken is refused if its object says so'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email"}, {"queue": "email", "unique_key": ""}]'::jsonb) $$,
    'UW001', 'unique key 2 has 0 bytes', 'an empty key is refused with its place'
);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email", "unique_for": "1 hour"}]'::jsonb) $$,
    'UW001', null, 'a unique_for without a key is refused'
);

select throws_ok(
    format('select underway.enqueue_many(%L::jsonb)', jsonb_build_array(given.option || '{"queue": "email"}')),
    'UW001', null, format('the option %s is refused', given.option)
)
from unnest(array[
    '{"priority": 1.5}', '{"priority": "high"}', '{"priority": 10000000000}', '{"delay": {}}', '{"delay": "soon"}',
    '{"run_at": 12}', '{"after": ["x"]}', '{"after": [null]}', '{"retry_policy": {"max_attempts": 1e10}}',
    '{"retry_policy": {"factor": "NaN"}}'
]::jsonb[]) as given (option);

select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email", "timeout": "long"}]'::jsonb) $$, 'UW001',
    'an option in {"timeout": "long"}: invalid input syntax for type interval: "long"',
    'the message shows the options and the value'
);

select is((select count(*) from underway.task), before.count, 'a refused batch leaves no task') from before;

select * from finish();
rollback;
