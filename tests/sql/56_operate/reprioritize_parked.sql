-- tasks whose concurrency key is full

begin;
select plan(18);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway_test.keyed_tasks('a1 a2 a3 a4 a5');
select underway_test.claimed();
select underway_test.advance_clock('1 second');

-- a higher priority

select lives_ok(
    format('select underway.reprioritize(%s, 5)', underway_test.named('a4')),
    'a parked task can be reprioritized'
);
select is(underway_test.parked(), 'a2 a3 a5', 'a reprioritized task is no longer parked');
select is(underway_test.claimed(), '', 'a reprioritized task is not claimed while its concurrency key is full');
select is(underway_test.parked(), 'a2 a3 a4 a5', 'a claim parks it again');
select underway_test.done('a1');
select is(underway_test.claimed(), 'a4', 'when the key is free, it is claimed before the tasks with a lower priority');

-- a lower priority

select underway.reprioritize(underway_test.named('a2'), -5);
select underway_test.done('a4');
select is(underway_test.claimed(), 'a3', 'a task with a lower priority is not claimed first');
select underway_test.done('a3');
select is(underway_test.claimed(), 'a5', 'a task with a lower priority is claimed after all others of its key');
select underway_test.done('a5');
select is(underway_test.claimed(), 'a2', 'a task with a lower priority is claimed when no other of its key is left');

-- not parked by a claim at its new priority yet

select underway_test.keyed_tasks('a6 a7');
select underway_test.claimed();
select underway.reprioritize(underway_test.named('a7'), 9);
select underway_test.done('a2');
select is(underway_test.claimed(), 'a7', 'a reprioritized task can be claimed without being parked at its new priority first');
select is(underway_test.parked(), 'a6', 'the other tasks of the key stay parked');
select underway_test.done('a7');
select is(underway_test.claimed(), 'a6', 'the next task of the key is claimed when the key is free');

-- a ready task that is placed behind the parked tasks of its key

select underway_test.no_tasks();
select underway_test.keyed_tasks('b1 b2 b3');
update underway.task set parked = true where input <> '"b1"';
select underway_test.advance_clock('1 second');
select underway.reprioritize(underway_test.named('b1'), 0);
select is(underway_test.parked(), 'b3', 'a ready task that is reprioritized makes the next task of its key ready');
select is(underway_test.claimed(), 'b2', 'a ready task that is reprioritized is not claimed before the parked tasks of its key');
select underway_test.done('b2');
select is(underway_test.claimed(), 'b3', 'it is not claimed before the last task of its key that was parked');
select underway_test.done('b3');
select is(underway_test.claimed(), 'b1', 'it is claimed after the tasks of its key that were parked');

select underway_test.no_tasks();
select underway_test.keyed_tasks('c1 c2');
update underway.task set parked = true where input = '"c2"';
select underway.reprioritize(underway_test.named('c1'), -5);
select is(underway_test.claimed(), 'c2', 'a ready task with a lower priority is not claimed before the parked tasks of its key');

select underway_test.no_tasks();
select underway_test.keyed_tasks('d1 d2 d3');
update underway.task set parked = true where input <> '"d1"';
select underway.reprioritize(underway_test.named('d2'), -5);
select is(underway_test.parked(), 'd3', 'a parked task that is reprioritized makes no other task of its key ready');
select is(underway_test.claimed(), 'd1', 'the ready task of its key is claimed first');

select * from finish();
rollback;
