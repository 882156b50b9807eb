-- a task that waits for its key becomes ready at another time

begin;
select plan(13);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway_test.keyed_tasks('a1 a2 a3 a4');
select underway_test.claimed();
select underway_test.advance_clock('1 minute');

-- to later

select is(
    underway.reschedule(underway_test.named('a2'), '2030-01-01 13:00:00+00'), '2030-01-01 13:00:00+00'::timestamptz,
    'a task that waits for its key may be rescheduled'
);
select is(underway_test.parked(), 'a3 a4', 'it is parked no longer');
select underway_test.done('a1');
select is(underway_test.claimed(), 'a3', 'the next of the key does not wait for it');

-- when its time has come

select underway_test.stop_clock('2030-01-01 13:00:00+00');
select is(underway_test.claimed(), '', 'when its time has come, it waits for its key again');
select is(underway_test.parked(), 'a2 a4', 'among the others');
select underway_test.done('a3');
select is(underway_test.claimed(), 'a4', 'of which those that were ready before it come first');
select underway_test.done('a4');
select is(underway_test.claimed(), 'a2', 'then its turn comes');
select is_empty($$ select from underway.task where parked $$, 'and nobody is left');

-- to now

select underway_test.keyed_tasks('a5 a6');
select is(underway_test.claimed(), '', 'others wait');
select underway_test.advance_clock('1 second');
select underway.reschedule(underway_test.named('a5'), '-infinity');
select underway_test.done('a2');
select is(
    underway_test.claimed(), 'a6', 'one that is rescheduled to the past is ready from now, after those that were'
);
select underway_test.done('a6');
select is(underway_test.claimed(), 'a5', 'and is claimed in its turn');

-- the only one

select underway_test.no_tasks();
select underway_test.keyed_tasks('b1 b2');
select underway_test.claimed();
select underway.reschedule(underway_test.named('b2'), '2030-01-01 14:00:00+00');
select underway_test.done('b1');
select is(underway_test.claimed(), '', 'what was parked and is not due is not claimed');
select underway_test.stop_clock('2030-01-01 14:00:00+00');
select is(underway_test.claimed(), 'b2', 'but when it is due');

select * from finish();
rollback;
