-- a fair queue at a glance

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

select is((select s.fair from underway.queue_stats s where s.queue = 'email'), false, 'a queue shows that it is not fair');
select underway.create_queue('email', fair => true);
select is((select s.fair from underway.queue_stats s where s.queue = 'email'), true, 'or that it is');
select is(pg_temp.oldest(), null, 'in an empty queue there is no oldest task');

select underway_test.keyed_tasks('a1 a2');
select underway_test.advance_clock('1 minute');
select underway_test.keyed_tasks('b1 1');
select underway.enqueue('email', delay => '1 hour');
select is(pg_temp.counts(), '4 ready, 0 parked, 1 scheduled, 0 in progress', 'what waits for the turn of its key is ready');
select is(pg_temp.oldest(), '2030-01-01 12:00:00+00', 'and counts as old as it is');
select underway_test.claimed();
select is(pg_temp.counts(), '1 ready, 0 parked, 1 scheduled, 3 in progress', 'also where its key is taken');
select underway_test.done('a1');
select underway_test.claimed();
select is(pg_temp.oldest(), null, 'what runs is not ready');
select is(pg_temp.counts('sms'), '0 ready, 0 parked, 0 scheduled, 0 in progress', 'another queue has nothing of it');

select underway_test.keyed_tasks('a3');
select underway.create_queue('email', fair => false);
select is(
    pg_temp.counts(), '0 ready, 1 parked, 1 scheduled, 3 in progress', 'when it is fair no longer, parked is what waits'
);

select * from finish();
rollback;
