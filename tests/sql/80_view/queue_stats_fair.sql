-- a fair queue at a glance

begin;
select plan(10);

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

select is((select s.fair from underway.queue_stats s where s.queue = 'email'), false, 'a queue shows that it is not fair');
select underway.create_queue('email', fair => true);
select is((select s.fair from underway.queue_stats s where s.queue = 'email'), true, 'a queue shows that it is fair');
select is(pg_temp.oldest(), null, 'an empty fair queue has no oldest ready task');

select underway_test.keyed_tasks('a1 a2');
select underway_test.advance_clock('1 minute');
select underway_test.keyed_tasks('b1 1');
select underway.enqueue('email', delay => '1 hour');
select is(pg_temp.counts(), '4 ready, 0 parked, 1 scheduled, 0 in progress', 'tasks of a fair queue that wait for the turn of their key are ready');
select is(pg_temp.oldest(), '2030-01-01 12:00:00+00', 'the oldest ready task of a fair queue is the one that was enqueued first');
select underway_test.claimed();
select is(pg_temp.counts(), '1 ready, 0 parked, 1 scheduled, 3 in progress', 'parked tasks of a fair queue are counted as ready');
select underway_test.done('a1');
select is(underway_test.claimed_later(), 'a2', 'the last ready task of a fair queue is claimed');
select is(pg_temp.oldest(), null, 'running tasks of a fair queue are not ready');
select is(pg_temp.counts('sms'), '0 ready, 0 parked, 0 scheduled, 0 in progress', 'the tasks of a fair queue are not counted in other queues');

select underway_test.keyed_tasks('a3');
select underway_test.claimed_later();
select underway.create_queue('email', fair => false);
select is(
    pg_temp.counts(), '0 ready, 1 parked, 1 scheduled, 3 in progress',
    'parked tasks are counted apart when their queue is no longer fair'
);

select * from finish();
rollback;
