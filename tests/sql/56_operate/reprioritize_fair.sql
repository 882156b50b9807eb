-- a task that waits for its turn in a fair queue changes its place

begin;
select plan(13);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true);

-- another priority

select underway_test.keyed_tasks('a1 a2 b1 1 2');
select underway.reprioritize(underway_test.named('a2'), 5);
select is(underway_test.parked(), 'a1 b1 1 2', 'a task with another priority is parked no longer');
select underway.reprioritize(underway_test.named('2'), 5);
select is(underway_test.served(2), 'a2 2', 'and is among the first that are claimed');
select is(underway_test.served(3), 'b1 a1 1', 'before the others, for whom the turns of its key count');

-- another time

select underway_test.keyed_tasks('a1 a2 b1');
select underway.reschedule(underway_test.named('a1'), '2030-01-01 13:00:00+00');
select is(underway_test.parked(), 'a2 b1', 'a task that comes later is parked no longer');
select is(underway_test.claimed(), 'a2 b1', 'the next of its key does not wait for it');
select underway_test.done('a2 b1');
select underway_test.keyed_tasks('c1');
select underway_test.stop_clock('2030-01-01 13:00:00+00');
select is(underway_test.served(2), 'c1 a1', 'when its time has come, it has the turn of its key');
select underway_test.keyed_tasks('1 2');
select underway.reschedule(underway_test.named('1'), '-infinity');
select is(underway_test.claimed(), '1 2', 'a time in the past is now');
select underway_test.done('1 2');

-- cancelled

select underway_test.keyed_tasks('a1 a2 b1 1');
select underway.cancel(underway_test.named('a1')), underway.cancel(underway_test.named('b1'));
select is((select count(*) from underway.parked), 2::bigint, 'a task that is cancelled waits no longer');
select is(underway_test.claimed(2), 'a2 1', 'and its key has no turn for it');
select is(underway_test.line(), '', 'nor a place in line');
select underway.cancel(t.id) from underway.task t where t.state = 'pending';
select underway_test.done('a2 1');
select is(underway_test.claimed(), '', 'all are gone');
select is((select count(*) from underway.parked) + (select count(*) from underway.running), 0::bigint, 'and nothing counts');
select is(underway_test.line(), '', 'nor is noted');

select * from finish();
rollback;
