begin;
select plan(11);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
create temporary table held on commit drop as select * from underway_test.held_task('email');
select underway.enqueue('email');
select underway_test.ready_task('invoice');

select is(underway.pause_queue('email'), true, 'pausing a queue that was not paused returns true');

select is(
    (select paused_at from underway.queue where name = 'email'), '2030-01-01 12:00:00+00'::timestamptz,
    'the time of the pause is stored'
);

select underway_test.advance_clock('1 hour');

select is(underway.pause_queue('email'), false, 'pausing a paused queue returns false');

select is(
    (select paused_at from underway.queue where name = 'email'), '2030-01-01 12:00:00+00'::timestamptz,
    'pausing a paused queue keeps the time of the first pause'
);

-- claims

select is_empty($$ select * from underway.dequeue('email', 10) $$, 'a claim from a paused queue returns no task');

select is(
    (select array_agg(queue) from underway.dequeue(array['email', 'invoice'], 10)), '{invoice}',
    'a claim from several queues returns no task of a paused queue'
);

-- other calls

select lives_ok($$ select underway.enqueue('email') $$, 'a task can be enqueued to a paused queue');

select lives_ok(
    (select format('select underway.complete(%s, %L)', id, lease) from held),
    'a running task of a paused queue can be completed'
);

-- errors

select throws_ok(
    $$ select underway.pause_queue('nowhere') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a queue that does not exist is refused'
);

select throws_ok($$ select underway.pause_queue(null) $$, 'UW003', null, 'a null name is refused');

select is(
    (select paused_at from underway.queue where name = 'invoice'), null,
    'other queues are not paused'
);

select * from finish();
rollback;
