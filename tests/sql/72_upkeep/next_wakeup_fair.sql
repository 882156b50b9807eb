-- how long the workers of a fair queue sleep

begin;
select plan(6);

select underway_test.stop_clock();
select underway.create_queue('email', fair => true);
select is(underway.next_wakeup('{email}'), '1 second', 'a worker of an empty fair queue sleeps for a second');
select underway_test.keyed_tasks('a1 a2 1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'one of a queue where a key has a turn hardly sleeps');
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '1 second', 'where all keys are taken, it sleeps');
select underway_test.done('a1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'until one is free');
select underway_test.claimed();
select underway.enqueue('email', delay => '200 milliseconds');
select is(underway.next_wakeup('{email}'), '200 milliseconds', 'or a task is due');
select underway.pause_queue('email');
select is(underway.next_wakeup('{email}'), '1 second', 'in a paused queue nobody has a turn');

select * from finish();
rollback;
