-- what fails for good leaves a dead letter where its queue has a dead-letter queue

begin;
select plan(17);

select underway_test.stop_clock();
select underway.create_queue('letters');
select underway.create_queue('email', dead_letter_queue => 'letters', retry_policy => underway.retry_policy(2, '0', '0', 1, 0));

create temp table task as
select underway.enqueue(
    'email', '{"to": "ferris@example.com"}', job => 'send_mail', priority => 7,
    retry_policy => underway.retry_policy(max_attempts => 2, initial_interval => '0'), timeout => '2 minutes',
    heartbeat => '20 seconds', retention => '5 days', headers => '{"trace": "1-2"}'
) as id;

select underway_test.advance_clock('1 minute');
select from underway.dequeue('email') as claimed, underway.fail(claimed.id, claimed.lease, '"first"', retry_after => '0');

select is_empty(
    $$ select from underway.task t where t.queue = 'letters' $$,
    'a failure that will be retried leaves no dead letter'
);

select underway_test.advance_clock('1 minute');
create temp table second as select * from underway.dequeue('email');
select underway_test.advance_clock('1 minute');
select underway.fail(second.id, second.lease, '{"type": "E", "message": "second"}') from second;

create temp table letter as select t.* from underway.task t where t.queue = 'letters';

select is((select count(*) from letter), 1::bigint, 'a permanent failure leaves a dead letter');

select isnt(letter.id, task.id, 'a dead letter is a task with an id of its own') from letter, task;

select results_eq(
    $$
        select letter.state::text, letter.attempt, letter.job, letter.input, letter.priority, letter.ready_at,
            letter.enqueued_at, letter.retry_policy::text, letter.timeout, letter.heartbeat, letter.retention, letter.headers
        from letter
    $$,
    $$
        values (
            'pending', 0, 'send_mail', '{"to": "ferris@example.com"}'::jsonb, 7, '2030-01-01 12:03:00+00'::timestamptz,
            '2030-01-01 12:03:00+00'::timestamptz, '(2,00:00:00,00:01:00,2,0.5)', interval '2 minutes',
            interval '20 seconds', interval '5 days', '{"trace": "1-2"}'::jsonb
        )
    $$,
    'a dead letter is pending with the input and the settings of the failed task, and with all its attempts'
);

select is(
    letter.dead_letter,
    jsonb_build_object(
        'task', task.id,
        'queue', 'email',
        'enqueued_at', '2030-01-01 12:00:00+00'::timestamptz,
        'attempts', 2,
        'failed_at', '2030-01-01 12:03:00+00'::timestamptz,
        'error', jsonb_build_object(
            'type', 'E', 'message', 'second', 'attempt', 2, 'started_at', '2030-01-01 12:02:00+00'::timestamptz,
            'failed_at', '2030-01-01 12:03:00+00'::timestamptz
        )
    ),
    'a dead letter names the failed task, its queue, its attempts and its error'
)
from letter, task;

select is(underway_test.state_of(task.id), 'failed', 'the task itself is in the history as failed') from task;

select is(
    letter.id, i.id, 'the dead-letter queue holds nothing else'
)
from letter, underway.dequeue('letters', 10) as i;

select is(t.dead_letter, letter.dead_letter, 'a claim returns the content of the dead letter')
from letter, underway.task t
where t.id = letter.id and t.state = 'in_progress';

-- by which way it fails

create temp table fatal as select * from underway_test.held_task();
select underway.fail(fatal.id, fatal.lease, '"no"', retryable => false) from fatal;

select is(t.dead_letter -> 'attempts', '1', 'a fatal error leaves a dead letter too')
from fatal, underway.task t
where (t.dead_letter ->> 'task')::bigint = fatal.id;

create temp table lapsed as select * from underway_test.held_task(attempt => 2);
select underway_test.advance_clock('1 hour');
select underway._reclaim(everything => true);

select matches(t.dead_letter #>> '{error,message}', '^lease lapsed', 'a lease that lapses in the last attempt leaves a dead letter')
from lapsed, underway.task t
where (t.dead_letter ->> 'task')::bigint = lapsed.id;

-- a batch

create temp table batch as
select claimed.id, claimed.lease, claimed.input::integer as number
from
    underway.create_queue('plain') as plain,
    underway.create_queue('batch', dead_letter_queue => 'letters') as created,
    underway.enqueue_many('batch', '{1,2,3}', priority => 3) as with_letter,
    underway.enqueue_many('plain', '{4,5}') as without,
    underway.dequeue(array['batch', 'plain'], 5) as claimed;

select underway.fail_many(array_agg(batch.id), array_agg(batch.lease), null, array_agg(batch.number <> 2 and batch.number <> 4)) from batch;
create temp table again as select claimed.id, claimed.lease from underway.dequeue('batch', 5) as claimed;

select results_eq(
    $$
        select t.input::integer, batch.number, t.priority
        from underway.task t
        join batch on batch.id = (t.dead_letter ->> 'task')::bigint
    $$,
    $$ values (2, 2, 3) $$,
    'of many tasks those leave a dead letter that fail permanently and whose queue has a dead-letter queue'
);

create temp table three as
select claimed.id, claimed.lease
from underway.enqueue_many('batch', '{11,12,13}', priority => 100) as added, underway.dequeue('batch', 3) as claimed;

select underway.fail_many(array_agg(three.id order by three.id desc), array_agg(three.lease), null, '{f,f,f}') from three;

select results_eq(
    $$ select claimed.input::integer from underway.dequeue('letters', 3) as claimed $$, array[11, 12, 13],
    'the dead letters of many tasks keep their order and their priority'
);

-- the setting changes

select underway.create_queue('email', dead_letter_queue => 'other_letters')
from underway.create_queue('other_letters');

create temp table changed as select underway_test.finished_task('failed') as id;

select is(t.queue::text, 'other_letters', 'the dead letter goes to the dead-letter queue that is set at the time of the failure')
from changed, underway.task t
where (t.dead_letter ->> 'task')::bigint = changed.id;

select underway.create_queue('email', dead_letter_queue => '');

create temp table removed as select underway_test.finished_task('failed') as id;

select is_empty(
    $$ select from removed, underway.task t where (t.dead_letter ->> 'task')::bigint = removed.id $$,
    'without a dead-letter queue there is no dead letter'
);

-- a letter fails itself

select underway.create_queue('letters', retry_policy => underway.retry_policy(1));

create temp table lone as
select claimed.id, claimed.lease
from underway.create_queue('lone', dead_letter_queue => 'letters') as created, underway.dequeue('letters', 1) as claimed;

select underway.fail(lone.id, lone.lease, '"nobody can"', retryable => false) from lone;

select is(i.state::text, 'failed', 'a dead letter whose own queue has no dead-letter queue ends there')
from lone, underway.task_info(lone.id) i;

select isnt(i.dead_letter, null, 'such a dead letter keeps its content in the history') from lone, underway.task_info(lone.id) i;

-- a letter in a paused queue

select underway.pause_queue('letters');
select underway.create_queue('email', dead_letter_queue => 'letters');

create temp table paused as select underway_test.finished_task('failed') as id;

select is(t.state::text, 'pending', 'a paused dead-letter queue takes dead letters')
from paused, underway.task t
where (t.dead_letter ->> 'task')::bigint = paused.id;

select * from finish();
rollback;
