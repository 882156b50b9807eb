-- all sessions together do the chores about once a second

begin;
select plan(12);

select underway_test.stop_clock('2030-01-01 12:00:00+00');

create function pg_temp.runs() returns boolean language sql as $$ select underway.maintain() <> '{}' $$;

select is(
    underway.maintain() - 'to_vacuum', '{"scheduled": 0, "reclaimed": 0, "expired": 0, "pruned": 0, "forgotten_workers": 0}',
    'the first call does the chores and returns what was done'
);
select is(underway.maintain(), '{}', 'a second call at the same time does nothing');
select underway_test.advance_clock('0.9 seconds');
select is(pg_temp.runs(), false, 'a call after 0.9 seconds does nothing');
select underway_test.advance_clock('0.000001 seconds');
select is(pg_temp.runs(), true, 'a call after more than 0.9 seconds does the chores');
select underway_test.advance_clock('0.5 seconds');
select is(pg_temp.runs(), false, 'the time counts from the last call that did the chores');
select underway_test.advance_clock('1 day');
select is(pg_temp.runs(), true, 'a call after a day does the chores');

-- a clock that was put back

select underway_test.advance_clock('-0.1 seconds');
select is(pg_temp.runs(), true, 'a call does the chores when the clock was put back');
select is(pg_temp.runs(), false, 'the next call after the clock was put back does nothing');
select underway_test.advance_clock('-1 day');
select is(pg_temp.runs(), true, 'a call does the chores when the clock was put back by a day');
select is((select u.last_run_at from underway.upkeep u), underway._clock(), 'the time of the last run is the time of the clock');
select is((select count(*) from underway.upkeep), 1::bigint, 'one row is kept of the last run');

-- the walk over the keys of parked tasks goes on

select underway.create_queue('email');
select underway_test.keyed_tasks('a1 b1');
update underway.task set parked = true;
update underway.upkeep set queue = 'email', key = 'a';
select underway_test.advance_clock('1 second');
select underway.maintain();
select is(underway_test.ready(), 'b1', 'the chores check the keys of parked tasks behind the last one that was checked');

select * from finish();
rollback;
