-- tasks whose concurrency key is full

begin;
select plan(14);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway_test.keyed_tasks('a1 a2 a3 a4');
select underway_test.claimed();
select underway_test.advance_clock('1 minute');

-- to a later time

select is(
    underway.reschedule(underway_test.named('a2'), '2030-01-01 13:00:00+00'), '2030-01-01 13:00:00+00'::timestamptz,
    'a parked task can be rescheduled'
);
select is(underway_test.claimed(), '', 'no task of a full key is claimed after one was rescheduled to later');
select is(underway_test.parked(), 'a3 a4', 'a task that was rescheduled to later is no longer parked');
select underway_test.done('a1');
select is(underway_test.claimed(), 'a3', 'the next task of the key is claimed before a task that was rescheduled to later');

-- when its time has come

select underway_test.stop_clock('2030-01-01 13:00:00+00');
select is(underway_test.claimed(), '', 'a rescheduled task that is due is not claimed while its key is full');
select is(underway_test.parked(), 'a2 a4', 'a rescheduled task that is due is parked by the next claim');
select underway_test.done('a3');
select is(underway_test.claimed(), 'a4', 'the tasks of the key that were ready before it are claimed first');
select underway_test.done('a4');
select is(underway_test.claimed(), 'a2', 'the rescheduled task is claimed when the key is free');
select is_empty($$ select from underway.task where parked $$, 'no task stays parked');

-- to the past

select underway_test.keyed_tasks('a5 a6');
select is(underway_test.claimed(), '', 'the tasks of a full key are not claimed');
select underway_test.advance_clock('1 second');
select underway.reschedule(underway_test.named('a5'), '-infinity');
select underway_test.done('a2');
select is(
    underway_test.claimed(), 'a6', 'a task that is rescheduled to the past is claimed after the tasks of its key that were ready'
);
select underway_test.done('a6');
select is(underway_test.claimed(), 'a5', 'the task that was rescheduled to the past is claimed next');

-- the only parked task of a key

select underway_test.no_tasks();
select underway_test.keyed_tasks('b1 b2');
select underway_test.claimed();
select underway.reschedule(underway_test.named('b2'), '2030-01-01 14:00:00+00');
select underway_test.done('b1');
select is(underway_test.claimed(), '', 'a task that was parked and is not due is not claimed when its key is free');
select underway_test.stop_clock('2030-01-01 14:00:00+00');
select is(underway_test.claimed(), 'b2', 'a task that was parked and rescheduled is claimed when it is due');

select * from finish();
rollback;
