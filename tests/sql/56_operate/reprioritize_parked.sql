-- a task that waits for its key gets another priority

begin;
select plan(11);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway_test.keyed_tasks('a1 a2 a3 a4 a5');
select underway_test.claimed();
select underway_test.advance_clock('1 second');

-- a higher one

select lives_ok(
    format('select underway.reprioritize(%s, 5)', underway_test.named('a4')),
    'a task that waits for its key may be reprioritized'
);
select is(underway_test.parked(), 'a2 a3 a5', 'it is parked no longer');
select is(underway_test.claimed(), '', 'but waits for its key like all others');
select is(underway_test.parked(), 'a2 a3 a4 a5', 'so it is parked again');
select underway_test.done('a1');
select is(underway_test.claimed(), 'a4', 'and then comes before those of a lower priority');

-- a lower one

select underway.reprioritize(underway_test.named('a2'), -5);
select underway_test.done('a4');
select is(underway_test.claimed(), 'a3', 'one with a lower priority comes after the others');
select underway_test.done('a3');
select is(underway_test.claimed(), 'a5', 'after all of them');
select underway_test.done('a5');
select is(underway_test.claimed(), 'a2', 'and is claimed at last');

-- not seen in its priority yet

select underway_test.keyed_tasks('a6 a7');
select underway_test.claimed();
select underway.reprioritize(underway_test.named('a7'), 9);
select underway_test.done('a2');
select is(underway_test.claimed(), 'a7', 'nobody has to see it wait there first');
select is(underway_test.parked(), 'a6', 'the others wait');
select underway_test.done('a7');
select is(underway_test.claimed(), 'a6', 'for their turn');

select * from finish();
rollback;
