-- dead letters go back where they came from

begin;
select plan(31);

select underway_test.stop_clock();
select underway.create_queue('letters');
select underway.create_queue(
    'email', dead_letter_queue => 'letters', retry_policy => underway.retry_policy(3, '10 seconds', '10 seconds', 1, 0)
);

create temp table task as
select underway.enqueue(
    'email', '{"to": "ferris@example.com"}', job => 'send_mail', priority => 7,
    retry_policy => underway.retry_policy(max_attempts => 2, initial_interval => '0'), timeout => '2 minutes',
    heartbeat => '20 seconds', retention => '5 days', headers => '{"trace": "1-2"}'
) as id;

create temp table original as select t.* from underway.task t join task on task.id = t.id;

select underway_test.advance_clock('1 minute');
select from underway.dequeue('email') as claimed, underway.fail(claimed.id, claimed.lease, '"first"', retry_after => '0');
select underway_test.advance_clock('1 minute');
select from underway.dequeue('email') as claimed, underway.fail(claimed.id, claimed.lease, '"second"');

create temp table letter as select t.id from underway.task t where t.queue = 'letters';
create temp table kept as select i.errors from task, underway.task_info(task.id) i;

select underway_test.advance_clock('1 hour');

select is(underway.redrive('letters'), 1, 'the dead letters that went are counted');

select is(
    (select to_jsonb(t) from underway.task t join task on task.id = t.id),
    (
        select to_jsonb(original) || jsonb_build_object(
            'ready_at', '2030-01-01 13:02:00+00'::timestamptz, 'errors', kept.errors, 'in_batch', true
        )
        from original, kept
    ),
    'the task is back under its own id as it was enqueued: its input, its settings, fresh attempts, ready now'
);

select is(i.errors, kept.errors, 'a redriven task keeps its errors') from kept, task, underway.task_info(task.id) i;

select is(
    (select array_agg(e ->> 'message') from jsonb_array_elements(i.errors) as e), array['first', 'second'],
    'a redriven task keeps all its errors'
)
from task, underway.task_info(task.id) i;

select is(underway_test.state_of(letter.id), null, 'nothing is left of the dead letter') from letter;

select is_empty($$ select from underway.task_history h $$, 'nothing is left of the failure in the history');

select is(underway.redrive('letters'), 0, 'a redriven letter is not redriven again');

-- the task runs as ever

create temp table claimed as select * from underway.dequeue('email', 10);

select results_eq(
    $$ select claimed.id, claimed.attempt, claimed.dead_letter, claimed.enqueued_at, claimed.job from claimed $$,
    $$ select task.id, 1, null::jsonb, '2030-01-01 12:00:00+00'::timestamptz, 'send_mail' from task $$,
    'a redriven task is claimed as the first attempt of an ordinary task'
);

select underway_test.advance_clock('1 second');
select underway.fail(claimed.id, claimed.lease, '"third"', retryable => false) from claimed;

select is(
    (select array_agg(e ->> 'message') from jsonb_array_elements(i.errors) as e), array['first', 'second', 'third'],
    'the errors of a redriven task follow its earlier ones'
)
from task, underway.task_info(task.id) i;

select is(
    (t.dead_letter ->> 'task')::bigint, task.id, 'a redriven task that fails again leaves another dead letter'
)
from task, underway.task t where t.queue = 'letters';

select underway.redrive('letters');
create temp table again as select * from underway.dequeue('email', 10);
select underway.complete(again.id, again.lease, '"sent at last"') from again;

select results_eq(
    $$ select i.id, i.state::text, i.output, jsonb_array_length(i.errors) from task, underway.task_info(task.id) i $$,
    $$ select task.id, 'succeeded', '"sent at last"'::jsonb, 3 from task $$,
    'a redriven task succeeds under the id that was enqueued'
);

-- which dead letters go

create temp table queue as select name from unnest(array['email', 'sms']) as name;
select underway.create_queue('sms', dead_letter_queue => 'letters');

create temp table failed as
select number, name, underway_test.finished_task('failed', name) as id
from (select row_number() over () as number, queue.name from generate_series(1, 3), queue) as numbered;

create temp table stranger as select underway_test.ready_task('letters') as id;

select is(underway.redrive('letters', 0), 0, 'a limit of zero redrives nothing');

select is(underway.redrive('letters', 2), 2, 'a limit of two redrives two letters');

select set_eq(
    $$ select failed.id from failed where underway_test.state_of(failed.id) = 'pending' $$,
    $$ select failed.id from failed order by failed.id limit 2 $$,
    'the oldest dead letters go first'
);

select is(underway.redrive('letters'), 4, 'the rest goes at the next call');

select is_empty(
    $$ select from failed, underway.task t where t.id = failed.id and t.queue <> failed.name $$,
    'each goes back to the queue that it came from'
);

select results_eq(
    $$ select t.id from underway.task t where t.queue = 'letters' $$, $$ select stranger.id from stranger $$,
    'a task that is no dead letter stays where it was enqueued'
);

-- a dead letter that is being handled

delete from underway.task;
create temp table handled as select underway_test.finished_task('failed', 'email') as id;
create temp table handler as select * from underway.dequeue('letters');

select is(underway.redrive('letters'), 0, 'a dead letter that is being handled stays with its handler');

select underway.report_progress(handler.id, handler.lease, '{"percent": 40}') from handler;
select underway.fail(handler.id, handler.lease, '"nobody home"', retry_after => '1 hour') from handler;

select is(underway.redrive('letters'), 1, 'one that waits to be handled again goes');

select is(
    (select array_agg(e ->> 'message') from jsonb_array_elements(i.errors) as e), array['refused'],
    'a redriven task has its own errors, not those of the letter''s handler'
)
from handled, underway.task_info(handled.id) i;

select is(i.progress, null, 'a redriven task has no progress') from handled, underway.task_info(handled.id) i;

select is(
    i.attempt, 0, 'a redriven task has all its attempts, however often its letter was tried'
)
from handled, underway.task_info(handled.id) i;

select results_eq(
    $$ select claimed_.id from underway.dequeue('email', 10) as claimed_ $$, $$ select handled.id from handled $$,
    'a redriven task is ready now, whatever its letter waited for'
);

-- a priority that is new to its queue

delete from underway.task;
create temp table prior as
select underway.enqueue('email', priority => 42) as id;
select from underway.dequeue('email', 10) as c, underway.fail(c.id, c.lease, '"x"', retryable => false);
delete from underway.queue_priority l where l.priority = 42 and l.queue = 'email';
select underway.redrive('letters');

select is((select count(*) from underway.dequeue('email', 10)), 1::bigint, 'a redriven task is claimed at the priority that it had');

-- refusals

delete from underway.task;
create temp table orphan as select underway_test.finished_task('failed', 'sms') as id;
create temp table waiting as select underway_test.finished_task('failed', 'email') as id;
select underway.drop_queue('sms', force => true);

select is(underway.redrive('letters', 1), 1, 'a dead letter whose queue was dropped does not delay the others');

select results_eq(
    $$ select (t.dead_letter ->> 'task')::bigint from underway.task t where t.queue = 'letters' $$,
    'select orphan.id from orphan', 'a dead letter whose queue was dropped stays'
);

select underway.create_queue('sms');

select is(underway.redrive('letters'), 1, 'a dead letter goes back when its queue exists again');

select throws_ok(
    $$ select underway.redrive('fax') $$, 'UW003', $$queue 'fax' does not exist$$,
    'a queue that does not exist is refused'
);

select throws_ok($$ select underway.redrive(null) $$, 'UW003', null, 'a queue that is null is refused');

select throws_ok(
    $$ select underway.redrive('letters', -1) $$, 'UW001', 'max_tasks is -1', 'a negative number is refused'
);

select throws_ok(
    $$ select underway.redrive('letters', null) $$, 'UW001', 'max_tasks is null', 'a number that is null is refused'
);

select * from finish();
rollback;
