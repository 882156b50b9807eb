begin;
select plan(8);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
set local time zone 'UTC';
select underway.create_queue('email');

select is_empty($$ select underway.export_tasks('{1}') $$, 'a task that does not exist is left out');

create temporary table full_task on commit drop as
select underway.enqueue(
    'email', '{"a": null}', job => 'send', delay => '1 hour', expires => '2 hours', priority => 3,
    retry_policy => underway.retry_policy(max_attempts => 2), timeout => '90 seconds', heartbeat => '20 seconds',
    retention => '2 days', headers => '{"trace": "x"}', unique_key => 'order 7', unique_until => 'start',
    concurrency_key => 'customer 3'
) as id;

select is(
    (select underway.export_tasks(array[id]) - '{id,enqueued_at}'::text[] from full_task),
    '{
        "state": "pending", "queue": "email", "job": "send", "input": {"a": null}, "headers": {"trace": "x"},
        "priority": 3, "unique_key": "order 7", "unique_until": "start", "concurrency_key": "customer 3",
        "run_at": "2030-01-01T13:00:00+00:00", "expires_at": "2030-01-01T15:00:00+00:00",
        "retry_policy": {
            "max_attempts": 2, "initial_interval": "PT1S", "max_interval": "PT1M", "factor": 2, "jitter": 0.5
        },
        "timeout": "PT1M30S", "heartbeat": "PT20S", "retention": "P2D", "attempt": 0
    }'::jsonb,
    'a live task has all its options'
);

set local intervalstyle = 'sql_standard';
select is(
    (select underway.export_tasks(array[id]) ->> 'retention' from full_task), 'P2D',
    'durations do not depend on the settings of the session'
);

create temporary table exported on commit drop as
select id as original, underway.export_tasks(array[id]) as task from full_task;
select underway.cancel(id) from full_task;

create temporary table copied on commit drop as
select
    e.original,
    (underway.enqueue_many(jsonb_build_array(e.task - '{id,state,attempt,enqueued_at}'::text[])))[1] as id
from exported e;

select is(
    (select underway.export_tasks(array[c.id]) - 'id' from copied c), (select e.task - 'id' from exported e),
    'enqueue_many makes the same task of it'
);

create temporary table finished on commit drop as select underway_test.finished_task('failed') as id;

select is(
    (
        select t -> 'state' || jsonb_path_query_array(t, '$.errors[*].message') || to_jsonb(t ? 'finished_at' and not t ? 'run_at')
        from finished f, underway.export_tasks(array[f.id]) t
    ),
    (
        select '["failed"]' || jsonb_path_query_array(i.errors, '$[*].message') || 'true'
        from finished f, underway.task_info(f.id) i
    ),
    'a finished task has its outcome and its errors, and no time at which it is due'
);

create temporary table without_input on commit drop as select underway.enqueue('email', 'null') as id;

select is(
    (select underway.export_tasks(array[id]) -> 'input' from without_input), 'null',
    'an input that is null is kept'
);

select results_eq(
    $$ select (underway.export_tasks(array[c.id, f.id, c.id]) -> 'id')::bigint from copied c, full_task f $$,
    $$ select f.id from full_task f union all select c.id from copied c $$,
    'tasks come in the order of their ids, each once'
);

select is_empty($$ select underway.export_tasks('{}') $$, 'no ids give no tasks');

select * from finish();
rollback;
