-- which task of a key comes first

begin;
select plan(21);

select underway_test.stop_clock();
select underway.create_queue('email');

-- the order of insertion

select underway_test.keyed_tasks('a1 b1 a2 b2 a3');
select underway_test.claimed();
select underway_test.done('a1 b1');
select is(underway_test.claimed(), 'a2 b2', 'parked tasks of several keys are claimed in the order of insertion');

-- parked ones before those that came later

select underway_test.keyed_tasks('a4 b3');
select underway_test.done('a2');
select is(underway_test.claimed(1), 'a3', 'a parked task comes before one of its key that came later');
select underway_test.done('b2');
select is(underway_test.claimed(), 'b3', 'and where none is parked, that is claimed');
select underway_test.done('a3');
select is(underway_test.claimed(), 'a4', 'once all before it are done');
select underway_test.done('a4 b3');

-- a claim that has no room for all

select underway_test.keyed_tasks('a1 a2');
select underway_test.claimed();
select underway_test.keyed_tasks('1 a3 2');
select underway_test.done('a1');
select is(underway_test.claimed(1), 'a2', 'a parked task comes before one without a key that came later');
select underway_test.done('a2');
select is(underway_test.claimed(1), '1', 'then they are taken in the order of insertion');
select is(underway_test.claimed(1), 'a3', 'with keys');
select is(underway_test.claimed(1), '2', 'or without');
select underway_test.done('a3 1 2');

-- the time when they are ready

select underway_test.keyed_tasks('a1 a2 a3');
update underway.task set ready_at = ready_at - interval '1 second' where input = '"a3"';
select is(underway_test.claimed(), 'a3', 'of one key the task that was ready first comes first');
select underway_test.done('a3');
update underway.task set ready_at = ready_at - interval '1 second' where input = '"a2"';
update underway.parked set ready_at = ready_at - interval '1 second' where task = underway_test.named('a2');
select is(underway_test.claimed(), 'a2', 'also of those that are parked');
select underway_test.done('a2');
select is(underway_test.claimed(), 'a1', 'and the others follow');
select underway_test.done('a1');

-- priorities

select underway_test.keyed_tasks('a1 a2 b1 b2');
select underway_test.claimed();
select underway_test.keyed_tasks('a3 a4', priority => 5);
select underway_test.keyed_tasks('b3', priority => -5);
select underway_test.keyed_tasks('c1', priority => 5);
select underway_test.done('a1 b1');
select is(
    underway_test.claimed(), 'a3 c1 b2',
    'a higher priority comes before what is parked with a lower one, and a lower one after it'
);
select is(underway_test.parked(), 'a2 a4 b3', 'the others wait, each for its key');
select underway_test.done('a3');
select is(underway_test.claimed(1), 'a4', 'among parked tasks of a key the higher priority comes first');
select underway_test.done('a4');
select is(underway_test.claimed(1), 'a2', 'then the lower');
select underway_test.done('b2');
select is(underway_test.claimed(1), 'b3', 'down to the lowest');
select underway_test.done('a2 b3 c1');

-- one claim of several priorities

select underway.create_queue('sms', max_running_per_key => 2);
select underway_test.keyed_tasks('a1 a2', 'sms', priority => 1);
select underway_test.keyed_tasks('a3 b1', 'sms');
select underway_test.keyed_tasks('a4', 'sms', priority => 2);
select is(
    underway_test.claimed(100, 'sms'), 'a4 a1 b1', 'what is claimed of a higher priority counts for those below'
);

-- a parked task of a higher priority, which nobody has been told of yet

select is(underway_test.parked(), 'a2 a3', 'what is left of the key is parked in both priorities');
select underway_test.done('a4 a1');
select is(underway_test.claimed(1, 'sms'), 'a2', 'of several priorities of one key the highest is taken');
select is(underway_test.freed('sms'), 'a', 'and the key still has room');
select is(underway_test.claimed(1, 'sms'), 'a3', 'for the next');

select * from finish();
rollback;
