-- tasks of a fair queue

begin;
select plan(18);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true);

-- another priority

select underway_test.keyed_tasks('a1 a2 b1 1 2');
select underway.reprioritize(underway_test.named('a2'), 5);
select is(underway_test.parked(), '', 'a ready task of a fair queue is not parked when it is reprioritized');
select underway.reprioritize(underway_test.named('2'), 5);
select is(underway_test.served(2), 'a2 2', 'the tasks with the higher priority are claimed first');
select is(underway_test.served(3), 'a1 b1 1', 'a key keeps its turn at each priority');
select underway_test.keyed_tasks('a1 a2 a3 b1');
select is(underway_test.claimed_later(), 'a1 b1', 'a fair queue parks the other tasks of a full key');
select underway.reprioritize(underway_test.named('a3'), 5);
select is(underway_test.parked(), 'a2', 'a parked task of a fair queue is no longer parked after it was reprioritized');
select is(underway_test.claimed_later(), '', 'a reprioritized task of a full key of a fair queue is not claimed');
select is(underway_test.parked(), 'a2 a3', 'a reprioritized task of a full key of a fair queue is parked again by a claim');
select underway_test.done('a1 b1');
select is(underway_test.served(2), 'a3 a2', 'a parked task that was reprioritized is claimed before the others of its key');

-- a ready task with a lower priority than the parked tasks of its key

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 a3');
update underway.task set parked = true where input <> '"a1"';
select underway.reprioritize(underway_test.named('a1'), -5);
select is(
    underway_test.served(2), 'a2 a3',
    'in a fair queue a task with a lower priority is not claimed before the parked tasks of its key'
);
select is(underway_test.served(1), 'a1', 'in a fair queue it is claimed after them');

-- another time

select underway_test.no_tasks();

select underway_test.keyed_tasks('a1 a2 b1');
select underway.reschedule(underway_test.named('a1'), '2030-01-01 13:00:00+00');
select is(underway_test.parked(), '', 'a ready task of a fair queue is not parked when it is rescheduled');
select is(underway_test.claimed_later(), 'a2 b1', 'the next task of its key is claimed before it');
select underway_test.done('a2 b1');
select underway_test.keyed_tasks('c1');
select underway_test.stop_clock('2030-01-01 13:00:00+00');
select is(underway_test.served(2), 'c1 a1', 'a rescheduled task that is due is claimed in the turn of its key');
select underway_test.keyed_tasks('1 2');
select underway.reschedule(underway_test.named('1'), '-infinity');
select is(underway_test.claimed_later(), '1 2', 'a task without a key that is rescheduled to the past is claimed');
select underway_test.done('1 2');

-- cancelled

select underway_test.keyed_tasks('a1 a2 b1 1');
select underway.cancel(underway_test.named('a1')), underway.cancel(underway_test.named('b1'));
select is(underway_test.claimed_later(), 'a2 1', 'the turn of a cancelled task goes to the next task of its key');
select underway_test.keyed_tasks('a3');
select is(underway_test.claimed_later(), '', 'a task of a full key is not claimed');
select underway.cancel(underway_test.named('a2'));
select is(underway_test.claimed_later(), 'a3', 'the slot of a cancelled running task goes to the next task of its key');
select underway_test.done('a3 1');
select is_empty('select from underway.task', 'no task stays behind');

select * from finish();
rollback;
