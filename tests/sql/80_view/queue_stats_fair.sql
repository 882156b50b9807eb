begin;
select plan(9);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('sms');

create function pg_temp.counts(queue text default 'email') returns text language sql as $$
    select format('%s ready, %s parked, %s scheduled, %s in progress', s.ready, s.parked, s.scheduled, s.in_progress)
    from underway.queue_stats s
    where s.queue = counts.queue
$$;

create function pg_temp.oldest() returns timestamptz language sql as $$
    select s.oldest_ready_at from underway.queue_stats s where s.queue = 'email'
$$;

select is((select s.fair from underway.queue_stats s where s.queue = 'email'), false, 'a queue is not fair by default');
select underway.create_queue('email', fair => true);
select is((select s.fair from underway.queue_stats s where s.queue = 'email'), true, 'a fair queue is shown as fair');
select is(pg_temp.oldest(), null, 'an empty fair queue has no oldest task');

select underway_test.keyed_tasks('a1 a2');
select underway_test.advance_clock('1 minute');
select underway_test.keyed_tasks('b1 1');
select underway.enqueue('email', delay => '1 hour');
select is(pg_temp.counts(), '4 ready, 0 parked, 1 scheduled, 0 in progress', 'tasks that wait for the turn of their key are counted as ready');
select is(pg_temp.oldest(), '2030-01-01 12:00:00+00', 'oldest_ready_at includes tasks that wait for the turn of their key');
select underway_test.claimed();
select is(pg_temp.counts(), '1 ready, 0 parked, 1 scheduled, 3 in progress', 'a task of a full key is counted as ready in a fair queue');
select underway_test.done('a1');
select underway_test.claimed();
select is(pg_temp.oldest(), null, 'running tasks are not counted as ready');
select is(pg_temp.counts('sms'), '0 ready, 0 parked, 0 scheduled, 0 in progress', 'the tasks of another queue are not counted');

select underway_test.keyed_tasks('a3');
select underway.create_queue('email', fair => false);
select is(
    pg_temp.counts(), '0 ready, 1 parked, 1 scheduled, 3 in progress', 'when a queue is no longer fair, its tasks of full keys are counted as parked'
);

select * from finish();
rollback;
