-- from the live table into the history

begin;
select plan(18);

select underway_test.stop_clock();

-- a task with everything that a task can have

select underway.create_queue('email', retention => '3 days');

create temp table full_task as
select underway.enqueue(
    'email', '{"to": "ferris@example.com"}', job => 'send_mail', priority => 7,
    retry_policy => underway.retry_policy(max_attempts => 9), timeout => '2 minutes', heartbeat => '20 seconds',
    retention => '5 days', headers => '{"trace": "1-2"}', unique_key => 'ferris', concurrency_key => 'example.com'
) as id;

update underway.task t
set dead_letter = '{"task": 1, "queue": "origin"}', progress = '{"percent": 40}'
where t.id = (select full_task.id from full_task);

select underway_test.advance_clock('1 minute');
create temp table held as select claimed.id, claimed.lease from underway.dequeue('email', 1, worker => 77) claimed;

update underway.task t
set errors = '[{"message": "first"}, {"message": "second"}]'
where t.id = (select held.id from held);

create temp table live as select t.* from underway.task t join held on held.id = t.id;

select underway_test.advance_clock('1 minute');

select is(
    (underway._finish(array[held.id], array[held.lease], 'succeeded', array['"sent"'::jsonb])).tasks, array[held.id],
    'the ids that were finished are returned'
)
from held;

select is(
    (select count(*) from underway.task t join held on held.id = t.id), 0::bigint,
    'a finished task is not among the live ones'
);

select is(
    (select to_jsonb(h) from underway.task_history h join held on held.id = h.id),
    (
        select to_jsonb(live) - array[
            'ready_at', 'lease', 'lease_expires_at', 'watched', 'parked', 'holds_slot', 'in_batch', 'progress', 'unique_until_start'
        ]
            || jsonb_build_object(
                'state', 'succeeded',
                'output', 'sent',
                'finished_at', '2030-01-01 12:02:00+00'::timestamptz,
                'reason', null,
                'kept_until', '2030-01-06 12:02:00+00'::timestamptz,
                'kept_slot', underway._history_slot('2030-01-06 12:02:00+00', '2030-01-01 12:02:00+00')
            )
        from live
    ),
    'the history keeps all columns of the task, its output, and its errors from first to last'
);

-- its time to live

create temp table three_days as select underway_test.finished_task(queue => 'email') as id;

select is(
    (select h.kept_until from underway.task_history h join three_days on three_days.id = h.id),
    '2030-01-04 12:02:00+00'::timestamptz,
    'a task without a retention of its own is kept for the retention of its queue'
);

create temp table four_days as select * from underway_test.held_task('email');
select underway.create_queue('email', retention => '4 days');
select underway.complete(four_days.id, four_days.lease) from four_days;

select is(
    (select h.kept_until from underway.task_history h join four_days on four_days.id = h.id),
    '2030-01-05 12:02:00+00'::timestamptz,
    'the retention of the queue is read when the task finishes'
);

create temp table orphan as select * from underway_test.held_task('orphans');
delete from underway.queue q where q.name = 'orphans';
select underway._finish(array[orphan.id], array[orphan.lease], 'cancelled') from orphan;

select is(
    (select h.kept_until from underway.task_history h join orphan on orphan.id = h.id),
    '2030-01-15 12:02:00+00'::timestamptz,
    'a task whose queue was dropped is kept for fourteen days'
);

-- what fits its lease, and nothing else

create temp table batch as
select number, held.id, held.lease, to_jsonb('output ' || number) as output
from generate_series(1, 5) as number, underway_test.held_task('batch', attempt => number) as held;

create temp table settled as
select (underway._finish(
    array_agg(batch.id order by batch.id desc),
    array_agg(case when batch.number = 3 then gen_random_uuid() else batch.lease end order by batch.id desc),
    'succeeded',
    array_agg(batch.output order by batch.id desc)
)).tasks as ids
from batch;

select set_eq(
    $$ select unnest(settled.ids) from settled $$,
    $$ select batch.id from batch where batch.number <> 3 $$,
    'only the tasks whose lease matches are finished'
);

select results_eq(
    $$ select h.output #>> '{}' from underway.task_history h join batch on batch.id = h.id order by h.id $$,
    array['output 1', 'output 2', 'output 4', 'output 5'],
    'each task gets its own output, in whatever order they are given'
);

select results_eq(
    $$ select t.state::text from underway.task t join batch on batch.id = t.id $$, array['in_progress'],
    'a task whose lease does not match continues to run'
);

create temp table pending as select underway_test.ready_task('batch') as id;

select is(
    (underway._finish(array[pending.id], array[gen_random_uuid()], 'cancelled')).tasks, '{}',
    'a lease does not match a task that has none'
)
from pending;

select is(
    (underway._finish(array[pending.id, batch.id], array[null, null]::uuid[], 'cancelled')).tasks, '{}',
    'a null lease matches no task, pending or held'
)
from batch, pending
where batch.number = 3;

-- tasks that the caller has locked

select set_eq(
    $$
        select unnest((underway._finish(array[pending.id, batch.id, 987654321], null, 'cancelled')).tasks)
        from batch, pending
        where batch.number = 3
    $$,
    $$ select pending.id from pending union select batch.id from batch where batch.number = 3 $$,
    'without leases all the tasks are finished, pending or held'
);

select is(underway_test.state_of(pending.id), 'cancelled', 'a pending task can be finished as cancelled') from pending;

-- edges

create temp table twice as select * from underway_test.held_task('batch');

select is(
    (underway._finish(array[twice.id, twice.id], array[twice.lease, twice.lease], 'succeeded')).tasks, array[twice.id],
    'a task that is named twice is finished once'
)
from twice;

select is(
    (select count(*) from underway.task_history h join twice on twice.id = h.id), 1::bigint,
    'a task that is named twice is in the history once'
);

select is((underway._finish('{}', '{}', 'succeeded')).tasks, '{}', 'an empty batch finishes nothing');

select is((underway._finish(null, null, 'succeeded')).tasks, '{}', 'no batch finishes nothing');

select is(
    (select count(*) from underway.task_history h where h.output is null and h.state = 'succeeded' and h.id = twice.id),
    1::bigint, 'without outputs the output is null'
)
from twice;

select * from finish();
rollback;
