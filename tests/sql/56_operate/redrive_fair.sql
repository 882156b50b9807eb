-- dead letters that were parked, for their queue is fair

begin;
select plan(3);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('letters', fair => true);
select underway.create_queue('email', dead_letter_queue => 'letters', retry_policy => underway.retry_policy(max_attempts => 1));

create function pg_temp.fail(names text) returns void language sql as $$
    select underway_test.keyed_tasks(fail.names);
    select underway.fail(c.id, c.lease, '"no"') from underway.dequeue('email', 100) c
$$;

select pg_temp.fail('1 2 3');
select is(underway_test.claimed(1, 'letters'), '1', 'a claim takes one letter, and parks the others');
select is(underway.redrive('letters'), 2, 'parked letters of a fair queue are redriven');
select underway_test.claimed();
select underway_test.done('2 3');
select pg_temp.fail('4');
select is(underway_test.claimed(1, 'letters'), '4', 'redriven letters do not delay the next claim');

select * from finish();
rollback;
