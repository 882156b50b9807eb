-- how long the workers of a fair queue sleep

begin;
select plan(7);

select underway_test.stop_clock();
select underway.create_queue('email', fair => true);
select is(underway.next_wakeup('{email}'), '1 second', 'a worker of an empty fair queue sleeps for a second');
select underway_test.keyed_tasks('a1 a2 1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker sleeps for 10 ms when a key of a fair queue has a ready task');
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '1 second', 'a worker of a fair queue sleeps for a second while all keys are full');
select underway_test.done('a1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker sleeps for 10 ms when a key of a fair queue was freed');
select is(underway_test.claimed_later(), 'a2', 'the next task of the freed key is claimed');
select underway.enqueue('email', delay => '200 milliseconds');
select is(underway.next_wakeup('{email}'), '200 milliseconds', 'a worker of a fair queue sleeps until its next task is due');
select underway.pause_queue('email');
select is(underway.next_wakeup('{email}'), '1 second', 'a worker of a paused fair queue sleeps for a second');

select * from finish();
rollback;
