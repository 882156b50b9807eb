-- tasks that have expired, and that maintain has not cancelled yet

begin;
select plan(2);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.enqueue('email', expires => '1 minute');
select underway.enqueue('email', expires => '1 hour');
select underway.enqueue('email', expires => '1 minute', concurrency_key => 'a');
select underway.enqueue('email', expires => '1 minute', after => array[(select min(id) from underway.task)]);
update underway.task set parked = true where concurrency_key is not null;

create function pg_temp.counts() returns text language sql as $$
    select format('%s ready, %s parked, %s waiting, %s expired', s.ready, s.parked, s.waiting, s.expired)
    from underway.queue_stats s
$$;

select is(pg_temp.counts(), '2 ready, 1 parked, 1 waiting, 0 expired', 'tasks that may expire count as the others');
select underway_test.advance_clock('1 minute');
select is(pg_temp.counts(), '1 ready, 0 parked, 0 waiting, 3 expired', 'tasks that have expired count as expired only');

select * from finish();
rollback;
