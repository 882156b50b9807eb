begin;
select plan(19);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', heartbeat => '30 seconds', retention => '1 day');

create temporary table task on commit drop as
select underway.enqueue(
    'email', '{"to": "ferris@example.com"}', job => 'send_mail', delay => '1 minute', priority => 3,
    headers => '{"trace": 7}', unique_key => 'ferris', concurrency_key => 'example.com'
) as id;

create function pg_temp.info()
returns underway.task_info
language sql
as $$
    select i from pg_temp.task t cross join lateral underway.task_info(t.id) i
$$;

-- a pending task

select is(
    to_jsonb(pg_temp.info()) - 'id',
    jsonb_build_object(
        'queue', 'email', 'job', 'send_mail', 'state', 'pending', 'priority', 3, 'attempt', 0, 'max_attempts', 5,
        'input', '{"to": "ferris@example.com"}'::jsonb, 'output', null, 'headers', '{"trace": 7}'::jsonb,
        'progress', null, 'errors', null, 'dead_letter', null,
        'enqueued_at', '2030-01-01 12:00:00+00'::timestamptz, 'ready_at', '2030-01-01 12:01:00+00'::timestamptz,
        'started_at', null, 'lease_expires_at', null, 'finished_at', null, 'kept_until', null, 'expires_at', null, 'reason', null, 'worker', null,
        'unique_key', 'ferris', 'concurrency_key', 'example.com'
    ),
    'a pending task shows what was enqueued and when it is ready'
);

select is((pg_temp.info()).id, (select id from task), 'the returned id is the requested id');

select underway.create_queue('email', retry_policy => underway.retry_policy(max_attempts => 7));
select is((pg_temp.info()).max_attempts, 7, 'max_attempts follows the current retry policy of the queue');

-- a running task

select underway_test.advance_clock('1 minute');
create temporary table held on commit drop as
select claimed.id, claimed.lease
from underway.dequeue('email', 1, underway.register_worker('host-1', '{email}')) claimed;
select underway.report_progress(id, lease, '{"percent": 40}') from held;

select results_eq(
    'select state::text, attempt, progress, worker, started_at, lease_expires_at from pg_temp.info()',
    $$ values (
        'in_progress', 1, '{"percent": 40}'::jsonb, 'host-1',
        '2030-01-01 12:01:00+00'::timestamptz, '2030-01-01 12:01:30+00'::timestamptz
    ) $$,
    'a running task shows its attempt, progress, worker, start and end of its lease'
);

-- a task with failed attempts

select underway.fail(held.id, held.lease, '{"type": "Elsewhere"}') from underway_test.held_task('invoice') held;
select underway.fail(id, lease, '{"type": "First", "message": "one"}', retry_after => '1 second') from held;
select underway_test.advance_clock('1 second');
create temporary table held_again on commit drop as select id, lease from underway.dequeue('email');
select underway.fail(id, lease, '{"type": "Second", "message": "two"}', retry_after => '1 second') from held_again;

select results_eq(
    $$
        select error ->> 'type', (error ->> 'attempt')::integer
        from jsonb_array_elements((pg_temp.info()).errors) as error
    $$,
    $$ values ('First', 1), ('Second', 2) $$,
    'a live task shows the errors of its attempts in their order'
);

select results_eq(
    'select state::text, attempt, ready_at, started_at, lease_expires_at from pg_temp.info()',
    $$ values (
        'pending', 2, '2030-01-01 12:01:02+00'::timestamptz, null::timestamptz, null::timestamptz
    ) $$,
    'a task that waits for its next attempt shows its time and no lease'
);

-- a finished task

select underway_test.advance_clock('1 second');
create temporary table held_at_last on commit drop as select id, lease from underway.dequeue('email');
select underway_test.advance_clock('5 seconds');
select underway.complete(id, lease, '"sent"') from held_at_last;

select is(
    to_jsonb(pg_temp.info()) - 'id' - 'errors',
    jsonb_build_object(
        'queue', 'email', 'job', 'send_mail', 'state', 'succeeded', 'priority', 3, 'attempt', 3, 'max_attempts', 7,
        'input', '{"to": "ferris@example.com"}'::jsonb, 'output', 'sent', 'headers', '{"trace": 7}'::jsonb,
        'progress', null, 'dead_letter', null,
        'enqueued_at', '2030-01-01 12:00:00+00'::timestamptz, 'ready_at', null,
        'started_at', '2030-01-01 12:01:02+00'::timestamptz, 'lease_expires_at', null,
        'finished_at', '2030-01-01 12:01:07+00'::timestamptz, 'expires_at', null, 'reason', null, 'kept_until', '2030-01-02 12:01:07+00'::timestamptz,
        'worker', null, 'unique_key', 'ferris', 'concurrency_key', 'example.com'
    ),
    'a finished task shows its output, its times and when it expires'
);

select results_eq(
    $$ select error ->> 'type' from jsonb_array_elements((pg_temp.info()).errors) as error $$,
    $$ values ('First'), ('Second') $$,
    'a finished task shows the errors of its attempts in their order'
);

select is((pg_temp.info()).id, (select id from task), 'a finished task keeps its id');

-- each final state

create temporary table finished on commit drop as
select given.state, underway_test.finished_task(given.state) as id
from unnest('{succeeded, failed, cancelled}'::underway.task_state[]) as given (state);

select results_eq(
    'select i.state from finished f cross join lateral underway.task_info(f.id) i order by f.id',
    'select state from finished order by id',
    'a finished task shows its final state'
);

-- its own settings

create temporary table own on commit drop as
select underway.enqueue('email', retry_policy => underway.retry_policy(max_attempts => 2)) as id;

select is(
    (select i.max_attempts from own cross join lateral underway.task_info(own.id) i), 2,
    'max_attempts follows the retry policy of the task, if it has one'
);

-- dead letters

select underway.create_queue('dead');
select underway.create_queue('email', dead_letter_queue => 'dead');

create temporary table letter on commit drop as
select failed.id as origin, letter.id
from underway_test.finished_task('failed') as failed (id)
cross join lateral underway.dequeue('dead') as letter;

select is(
    (select (i.dead_letter ->> 'task')::bigint from letter l cross join lateral underway.task_info(l.id) i),
    (select origin from letter),
    'a dead letter shows which task failed'
);

select is(
    (select i.dead_letter ->> 'queue' from letter l cross join lateral underway.task_info(l.id) i), 'email',
    'a dead letter shows the queue in which the task failed'
);

select is(
    (select i.dead_letter from letter l cross join lateral underway.task_info(l.origin) i), null,
    'the failed task itself has no dead_letter'
);

-- removed workers, queues and tasks

select underway.unregister_worker(id) from underway.worker;
select is((pg_temp.info()).worker, null, 'an unregistered worker is shown as null');

select underway.drop_queue('email', force => true);

select results_eq(
    'select state::text, queue, max_attempts from pg_temp.info()',
    $$ values ('succeeded', 'email', null::integer) $$,
    'a finished task is shown after its queue was dropped'
);

select is_empty('select * from underway.task_info(-1)', 'a task that does not exist has no row');
select is_empty('select * from underway.task_info(null)', 'a null id has no row');

select underway.delete_task((select id from task));
select is_empty('select * from underway.task_info((select id from task))', 'a deleted task has no row');

select * from finish();
rollback;
