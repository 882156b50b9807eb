-- a claim

begin;
select plan(22);

select underway_test.stop_clock();
select underway.create_queue('email', timeout => '2 minutes', heartbeat => '20 seconds');

create temp table worker as select underway.register_worker('crow', array['email']) as id;

create temp table task as
select underway.enqueue(
    'email', '{"to": "ferris@example.com"}', job => 'send_mail', priority => 3, headers => '{"trace": "1-2"}'
) as id;

select underway_test.advance_clock('5 seconds');

create temp table claimed as select dequeued.* from worker, underway.dequeue('email', 1, worker.id) as dequeued;

select results_eq(
    $$
        select claimed.id, claimed.queue, claimed.job, claimed.input, claimed.attempt, claimed.timeout,
            claimed.heartbeat, claimed.headers, claimed.priority, claimed.enqueued_at, claimed.dead_letter
        from claimed
    $$,
    $$
        select task.id, 'email', 'send_mail', '{"to": "ferris@example.com"}'::jsonb, 1, interval '2 minutes',
            interval '20 seconds', '{"trace": "1-2"}'::jsonb, 3, '2030-01-01 12:00:00+00'::timestamptz, null::jsonb
        from task
    $$,
    'a claim returns the task with all that its handler needs'
);

select results_eq(
    $$
        select t.state::text, t.attempt, t.lease, t.worker, t.started_at, t.lease_expires_at
        from underway.task t
        join task on task.id = t.id
    $$,
    $$
        select 'in_progress', 1, claimed.lease, worker.id, '2030-01-01 12:00:05+00'::timestamptz,
            '2030-01-01 12:00:25+00'::timestamptz
        from claimed, worker
    $$,
    'a claimed task has the lease and the worker of the claim, and its lease lasts one heartbeat of its queue'
);

select is_empty($$ select * from underway.dequeue('email', 10) $$, 'a running task is not claimed again');

-- the settings of a task win

select underway.enqueue('email', timeout => '7 minutes', heartbeat => '70 seconds');

create temp table own as select * from underway.dequeue('email');

select results_eq(
    $$ select own.timeout, own.heartbeat, t.lease_expires_at, t.worker from own join underway.task t on t.id = own.id $$,
    $$ values (interval '7 minutes', interval '70 seconds', '2030-01-01 12:01:15+00'::timestamptz, null::bigint) $$,
    'the timeout and heartbeat of a task are used before those of its queue, and a claim needs no worker'
);

-- settings of the queue are looked up at the claim

select underway.enqueue('email');
select underway.create_queue('email', timeout => '3 minutes', heartbeat => '30 seconds');

select results_eq(
    $$ select claimed_.timeout, claimed_.heartbeat from underway.dequeue('email') as claimed_ $$,
    $$ values (interval '3 minutes', interval '30 seconds') $$,
    'changing a queue changes its backlog'
);

-- how many

select underway.enqueue_many('email', array(select to_jsonb(number) from generate_series(1, 10) as number));

select is_empty($$ select * from underway.dequeue('email', 0) $$, 'a claim of 0 tasks takes none');

select results_eq(
    $$ select batch.input::integer from underway.dequeue('email') as batch $$, array[1],
    'a claim takes one task by default'
);

create temp table four as select * from underway.dequeue('email', 4);

select results_eq(
    $$ select four.input::integer from four $$, array[2, 3, 4, 5],
    'a claim takes at most max_tasks tasks, in their order'
);

select is((select count(distinct four.lease) from four), 1::bigint, 'the tasks of a claim share its lease');

create temp table rest as select * from underway.dequeue('email', 10000);

select results_eq(
    $$ select rest.input::integer from rest $$, array[6, 7, 8, 9, 10], 'a claim of more tasks than are ready takes all that are ready'
);

select isnt(
    (select distinct four.lease from four), (select distinct rest.lease from rest), 'two claims have two leases'
);

select is_empty($$ select * from underway.dequeue('email', 10) $$, 'a claim from a queue without ready tasks takes none');

-- attempts

select underway.create_queue('retried');
select underway.enqueue('retried');

select is(
    (
        select array_agg(first_.attempt)
        from underway.dequeue('retried') as first_, underway.fail(first_.id, first_.lease, '"x"', retry_after => '0')
    )
    || (
        select array_agg(second_.attempt)
        from underway.dequeue('retried') as second_, underway.snooze(second_.id, second_.lease, '0')
    )
    || (
        select array_agg(third_.attempt)
        from underway.dequeue('retried') as third_, underway.release(third_.id, third_.lease)
    )
    || (select array_agg(fourth_.attempt) from underway.dequeue('retried') as fourth_),
    array[1, 2, 2, 2],
    'an attempt is counted at the claim; snooze and release take it back'
);

-- states

select underway.create_queue('states');
create temp table waiting as select underway.enqueue('states') as id;
update underway.task t set state = 'waiting' where t.id = (select waiting.id from waiting);

select is_empty($$ select * from underway.dequeue('states') $$, 'a waiting task is not claimed');

select underway.cancel(underway_test.ready_task('states'));

select is_empty($$ select * from underway.dequeue('states') $$, 'a cancelled task is not claimed');

-- a paused queue

select underway_test.ready_task('paused');
create temp table running as select * from underway_test.held_task('paused');
select underway.pause_queue('paused');

select is_empty($$ select * from underway.dequeue('paused') $$, 'nothing is claimed from a paused queue');

select lives_ok(
    $$ select underway.complete(running.id, running.lease) from running $$,
    'a running task of a paused queue can be completed'
);

select underway.resume_queue('paused');

select is(
    (select count(*) from underway.dequeue('paused')), 1::bigint, 'a resumed queue is claimed from again'
);

-- refusals

select throws_ok(
    $$ select underway.dequeue('fax') $$, 'UW003', $$queue 'fax' does not exist$$,
    'a queue that does not exist is refused'
);

select throws_ok($$ select underway.dequeue(null::text) $$, 'UW003', null, 'a null queue is refused');

select throws_ok(
    $$ select underway.dequeue('email', -1) $$, 'UW001', 'max_tasks is -1', 'a negative number of tasks is refused'
);

select throws_ok(
    $$ select underway.dequeue('email', null) $$, 'UW001', 'max_tasks is null', 'a null number of tasks is refused'
);

select * from finish();
rollback;
