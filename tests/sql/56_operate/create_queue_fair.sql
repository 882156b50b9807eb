-- a queue becomes fair, and is so no longer

begin;
select plan(23);

create function pg_temp.fair() returns boolean language sql as $$
    select q.fair from underway.queue q where q.name = 'email'
$$;

select underway_test.stop_clock();

-- the setting

select underway.create_queue('email');
select is(pg_temp.fair(), false, 'a new queue is not fair');
select underway.create_queue('email', fair => true);
select is(pg_temp.fair(), true, 'unless it is said');
select underway.create_queue('email', timeout => '1 minute');
select is(pg_temp.fair(), true, 'creating it again keeps that');
select underway.create_queue('email', fair => false);
select is(pg_temp.fair(), false, 'until the contrary is said');

-- whoever sleeps looks again

create temporary table woken (queue text) on commit drop;
create function pg_temp.woken() returns bigint language sql as $$
    with gone as (delete from pg_temp.woken returning queue) select count(*) from gone
$$;
savepoint before;
create or replace function underway._wake(queue text, delay interval default '0')
returns void
language sql
volatile
as 'insert into pg_temp.woken values (_wake.queue)';
select underway.create_queue('email', fair => true);
select is(pg_temp.woken(), 1::bigint, 'its workers are woken when it becomes fair');
select underway.create_queue('email', fair => false);
select is(pg_temp.woken(), 1::bigint, 'and when it is so no longer');
rollback to before;

-- turned on with a backlog

select underway.create_queue('email', max_running_per_key => 2);
select underway_test.keyed_tasks('a1 a2 a3 a4 1 2 b1');
select is(underway_test.claimed(2), 'a1 a2', 'in a queue that is not fair the first comes first');
select underway_test.done('a1');
select underway.create_queue('email', fair => true);
select is(underway_test.claimed(3), 'a3 1 b1', 'from when it is fair, keys are served in turn');
select is(underway_test.parked(), 'a4 2', 'all that is left is parked');
select underway_test.keyed_tasks('c1');
select underway_test.done('a2 a3 1 b1');
select is(underway_test.served(3), '2 c1 a4', 'with what comes now');
select is(underway_test.claimed(), '', 'nothing is left');
select is(underway_test.line(), '', 'nor noted');

-- turned off with a backlog

select underway_test.no_tasks();
select underway.create_queue('email', fair => true);
select underway_test.keyed_tasks('a1 a2 a3 1 2 b1');
select underway_test.claimed(1);
select underway.create_queue('email', fair => false);
select underway_test.keyed_tasks('3 c1');
select is(underway_test.claimed(3), 'a2 1 2', 'when it is not fair any more, what was first comes first');
select is(underway_test.claimed(), 'b1 3 c1', 'and what is parked forgotten by nobody');
select underway_test.done('a1');
select is(underway_test.claimed(), 'a3', 'a key that was taken goes on');
select is(underway_test.parked(), '', 'until nothing is left');

-- and on again

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 a3 a4');
select underway_test.claimed(1);
select underway_test.keyed_tasks('b1 b2');
select underway.create_queue('email', fair => true);
select is(underway_test.claimed(2), 'a2 b1', 'what was parked before it was fair has its turn');
select underway_test.done('a1 a2 b1');
select is(underway_test.claimed(10), 'b2 a3 a4', 'all of it');

-- a queue that never had a key

select underway.create_queue('sms', fair => true);
select underway_test.keyed_tasks('4 5 6', 'sms');
select underway.create_queue('sms', fair => false);
select is(underway.next_wakeup('{sms}'), '10 milliseconds', 'a worker comes for what was parked without a key');
select is(underway_test.claimed(2, 'sms'), '4 5', 'and finds it');
select underway_test.keyed_tasks('7', 'sms');
select is(underway_test.claimed(2, 'sms'), '6 7', 'before what came later');
select underway.create_queue('sms', fair => true);
select underway_test.keyed_tasks('8', 'sms');
select is(underway.next_wakeup('{sms}'), '10 milliseconds', 'a worker comes for a fair queue, too');
select underway.drop_queue('sms', force => true);
select is(
    (select count(*) from underway.parked where queue = 'sms')
    + (select count(*) from underway.ready_key where queue = 'sms'), 0::bigint,
    'with the queue all of it is gone'
);

select * from finish();
rollback;
