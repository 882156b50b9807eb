-- a queue becomes fair, and stops being fair

begin;
select plan(24);

create function pg_temp.fair() returns boolean language sql as $$
    select q.fair from underway.queue q where q.name = 'email'
$$;

select underway_test.stop_clock();

-- the setting

select underway.create_queue('email');
select is(pg_temp.fair(), false, 'a new queue is not fair');
select underway.create_queue('email', fair => true);
select is(pg_temp.fair(), true, 'a queue is fair when fair is given');
select underway.create_queue('email', timeout => '1 minute');
select is(pg_temp.fair(), true, 'a fair queue stays fair when another setting changes');
select underway.create_queue('email', fair => false);
select is(pg_temp.fair(), false, 'a queue stops being fair when fair is given as false');

-- sleeping workers are woken

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
select is(pg_temp.woken(), 1::bigint, 'workers are woken when their queue becomes fair');
select underway.create_queue('email', fair => false);
select is(pg_temp.woken(), 1::bigint, 'workers are woken when their queue stops being fair');
rollback to before;

-- turned on with a backlog

select underway.create_queue('email', max_running_per_key => 2);
select underway_test.keyed_tasks('a1 a2 a3 a4 1 2 b1');
select is(underway_test.claimed(2), 'a1 a2', 'a queue that is not fair is claimed from in the order of its tasks');
select underway_test.done('a1');
select underway.create_queue('email', fair => true);
select is(underway_test.claimed_later(4), 'a3 1 2 b1', 'a queue that has become fair serves its keys in turn');
select is(underway_test.parked(), 'a4', 'the remaining task of a full key is parked');
select underway_test.keyed_tasks('c1');
select underway_test.done('a2 a3 1 2 b1');
select is(underway_test.served(2), 'c1 a4', 'a task of another key is served before one of a key that was served');
select is(underway_test.claimed_later(), '', 'no task of a queue that has become fair stays behind');
select is_empty($$ select from underway.task $$, 'all tasks of a queue that has become fair were claimed');

-- turned off with a backlog

select underway_test.no_tasks();
select underway.create_queue('email', fair => true);
select underway_test.keyed_tasks('a1 a2 a3 1 2 b1 b2 b3');
select is(underway_test.claimed_later(1), 'a1', 'a fair queue gives the first task of its first key');
select underway_test.advance_clock('1 millisecond');
select underway.create_queue('email', fair => false);
select underway_test.keyed_tasks('3 c1');
select is(
    underway_test.claimed_later(4), '1 2 b1 b2', 'a queue that has stopped being fair gives its tasks in the order of their times'
);
select is(underway_test.claimed_later(), 'a2 3 c1', 'each key of a queue that has stopped being fair gives as many tasks as may run');
select underway_test.done('a1');
select is(underway_test.claimed_later(), 'a3', 'the next task of a key is claimed in a queue that has stopped being fair');
select underway_test.done('b1');
select is(underway_test.claimed_later(), 'b3', 'the last task of each key is claimed in a queue that has stopped being fair');
select is(underway_test.parked(), '', 'no task stays parked in a queue that has stopped being fair');

-- turned on again

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 a3 a4');
select is(underway_test.claimed_later(1), 'a1', 'the first task is claimed before the queue becomes fair again');
select underway_test.keyed_tasks('b1 b2');
select underway.create_queue('email', fair => true);
select is(underway_test.claimed_later(2), 'a2 b1', 'each key of a queue that has become fair again gives one task');
select underway_test.done('a1 a2 b1');
select is(underway_test.claimed_later(10), 'a3 b2 a4', 'the remaining tasks of the keys are served in turn');

-- tasks without a key

select underway.create_queue('sms', fair => true);
select underway_test.keyed_tasks('4 5 6', 'sms');
select underway.create_queue('sms', fair => false);
select is(underway_test.claimed_later(2, 'sms'), '4 5', 'tasks without a key are claimed after their queue has stopped being fair');
select underway_test.keyed_tasks('7', 'sms');
select is(underway_test.claimed_later(2, 'sms'), '6 7', 'tasks without a key are claimed in their order');
select underway.create_queue('sms', fair => true);
select underway_test.keyed_tasks('a8 a9', 'sms');
select underway.pause_key('sms', 'a');
select underway_test.claimed_later(2, 'sms');
select underway.drop_queue('sms', force => true);
select is_empty(
    $$
        select 'task' from underway.task where queue = 'sms'
        union all
        select 'ready_key' from underway.ready_key where queue = 'sms'
        union all
        select 'paused_key' from underway.paused_key where queue = 'sms'
    $$,
    'nothing is left of a fair queue that was dropped'
);

select * from finish();
rollback;
