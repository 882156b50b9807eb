begin;
select plan(11);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
create temporary table held on commit drop as select * from underway_test.held_task('email');
select underway.enqueue('email');
select underway_test.ready_task('invoice');

select is(underway.pause_queue('email'), true, 'a queue that was running says so');

select is(
    (select paused_at from underway.queue where name = 'email'), '2030-01-01 12:00:00+00'::timestamptz,
    'a paused queue knows since when'
);

select underway_test.advance_clock('1 hour');

select is(underway.pause_queue('email'), false, 'a queue that was paused already says so');

select is(
    (select paused_at from underway.queue where name = 'email'), '2030-01-01 12:00:00+00'::timestamptz,
    'pausing again keeps the time of the first pause'
);

-- what a pause stops

select is_empty($$ select * from underway.dequeue('email', 10) $$, 'nobody claims from a paused queue');

select is(
    (select array_agg(queue) from underway.dequeue(array['email', 'invoice'], 10)), '{invoice}',
    'the other queues of a claim are served'
);

-- what it does not stop

select lives_ok($$ select underway.enqueue('email') $$, 'a paused queue takes tasks');

select lives_ok(
    (select format('select underway.complete(%s, %L)', id, lease) from held),
    'what runs, runs on to its end'
);

-- refusals

select throws_ok(
    $$ select underway.pause_queue('nowhere') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a queue that does not exist is refused'
);

select throws_ok($$ select underway.pause_queue(null) $$, 'UW003', null, 'no name is refused');

select is(
    (select paused_at from underway.queue where name = 'invoice'), null,
    'the other queues run'
);

select * from finish();
rollback;
