-- tasks of a fair queue

begin;
select plan(13);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true);

-- another priority

select underway_test.keyed_tasks('a1 a2 b1 1 2');
select underway.reprioritize(underway_test.named('a2'), 5);
select is(underway_test.parked(), 'a1 b1 1 2', 'a task of a fair queue is no longer parked after it was reprioritized');
select underway.reprioritize(underway_test.named('2'), 5);
select is(underway_test.served(2), 'a2 2', 'the tasks with the higher priority are claimed first');
select is(underway_test.served(3), 'b1 a1 1', 'a claim at a higher priority counts as the turn of its key');

-- another time

select underway_test.keyed_tasks('a1 a2 b1');
select underway.reschedule(underway_test.named('a1'), '2030-01-01 13:00:00+00');
select is(underway_test.parked(), 'a2 b1', 'a task of a fair queue is no longer parked after it was rescheduled');
select is(underway_test.claimed(), 'a2 b1', 'the next task of its key is claimed before it');
select underway_test.done('a2 b1');
select underway_test.keyed_tasks('c1');
select underway_test.stop_clock('2030-01-01 13:00:00+00');
select is(underway_test.served(2), 'c1 a1', 'a rescheduled task that is due is claimed in the turn of its key');
select underway_test.keyed_tasks('1 2');
select underway.reschedule(underway_test.named('1'), '-infinity');
select is(underway_test.claimed(), '1 2', 'a task without a key that is rescheduled to the past is claimed');
select underway_test.done('1 2');

-- cancelled

select underway_test.keyed_tasks('a1 a2 b1 1');
select underway.cancel(underway_test.named('a1')), underway.cancel(underway_test.named('b1'));
select is((select count(*) from underway.parked), 2::bigint, 'a cancelled task is no longer parked');
select is(underway_test.claimed(2), 'a2 1', 'the turn of its key goes to the next task of the key');
select is(underway_test.line(), '', 'a key without tasks is not among the ready keys');
select underway.cancel(t.id) from underway.task t where t.state = 'pending';
select underway_test.done('a2 1');
select is(underway_test.claimed(), '', 'no task is left to claim');
select is((select count(*) from underway.parked) + (select count(*) from underway.running), 0::bigint, 'no task is counted as parked or running');
select is(underway_test.line(), '', 'no key is among the ready keys');

select * from finish();
rollback;
