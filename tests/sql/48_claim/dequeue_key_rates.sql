-- a rate for each key

begin;
select plan(14);

select underway_test.stop_clock();
select underway.create_queue('email', rate_limit_per_key => 2, rate_period => '1 minute', max_running_per_key => 10);

select underway_test.keyed_tasks('a1 a2 a3 a4 b1 1');
select is(underway_test.claimed(), 'a1 a2 b1 1', 'of each key so many start as its bucket holds');
select is(underway_test.parked(), 'a3 a4', 'the others are out of the way');
select is(underway_test.claimed(), '', 'until a token comes');
select is(underway.next_wakeup('{email}'), '1 second', 'workers may sleep until then');
select underway_test.advance_clock('29.5 seconds');
select is(underway.next_wakeup('{email}'), '0.5 seconds', 'and wake for it');
select is(underway_test.claimed(), '', 'not before');
select underway_test.advance_clock('0.5 seconds');
select is(underway_test.claimed(), 'a3', 'then the next starts');
select underway_test.advance_clock('30 seconds');
select is(underway_test.claimed(), 'a4', 'and so on');

-- beside the places of the key

select underway.create_queue('email', max_running_per_key => 1);
select underway_test.advance_clock('10 minutes');
select underway_test.keyed_tasks('a5 a6 a7');
select is(underway_test.claimed(), '', 'a key that is taken is taken, whatever tokens it has');
select underway_test.done('a1 a2 a3 a4');
select is(underway_test.claimed(), 'a5', 'when it is free, the next takes a token');
select underway_test.done('a5');
select is(underway_test.claimed(), 'a6', 'as long as there is one');
select underway_test.done('a6');
select is(underway_test.claimed(), '', 'and then waits, though the key is free');

-- changed

select underway.create_queue('email', rate_limit_per_key => 0);
select is(underway_test.claimed(), 'a7', 'a limit that is taken away lets it start');
select is((select count(*) from underway.parked), 0::bigint, 'and nothing is left behind');

select * from finish();
rollback;
