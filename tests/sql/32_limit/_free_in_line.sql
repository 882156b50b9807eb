-- the keys that may be served, in the order of their line

begin;
select plan(15);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true, max_running_per_key => 3);

create function pg_temp.free(max_keys integer default 1000, priority integer default 0) returns text language sql as $$
    select coalesce(string_agg(coalesce(nullif(free.key, ''), '-') || free.room, ' '), '')
    from underway._free_in_line(
        underway_test.lane(priority => free.priority), underway_test.queue(), underway._clock(), free.max_keys
    ) free
$$;

select underway_test.keyed_tasks('c1 a1 b1 a2');
select is(pg_temp.free(), 'c3 a3 b3', 'keys come in the order in which they were noted, each with its room');
select is(pg_temp.free(2), 'c3 a3', 'no more than are asked for');
select is(pg_temp.free(0), '', 'of none, none');
select underway_test.keyed_tasks('1 2');
select is(pg_temp.free(), 'c3 a3 b3 -2147483647', 'tasks without a key are as one key');

-- a key without room

select underway.pause_key('email', 'c');
select is(pg_temp.free(2), 'c0 a3 b3', 'one that has no room is given as well, but is none of so many');
select underway.resume_key('email', 'c');
select is(underway_test.line(), 'c a b - c', 'it may be noted several times');
select is(pg_temp.free(), 'c3 a3 b3 -2147483647', 'and is given once, at its first place');

-- one that has nothing

select underway.cancel(underway_test.named('a1')), underway.cancel(underway_test.named('a2'));
select is(pg_temp.free(2), 'c3 a0 b3', 'one of which nothing is parked has no room to use');

-- another lane

select underway_test.keyed_tasks('d1 b2', priority => 5);
select is(pg_temp.free(priority => 5), 'a0 b3 d3', 'keys that have something in another lane only are passed over');
select is(pg_temp.free(), 'c3 a0 b3 -2147483647', 'in this one, too');

-- tokens

select underway_test.no_tasks();
insert into underway.ready_key (queue, concurrency_key, check_at)
values ('email', 'd', underway._clock() + '1 second'), ('email', 'e', underway._clock() + '0.5 seconds');
select is(pg_temp.free(), '', 'what waits for a token is not in the line');
select underway_test.advance_clock('0.5 seconds');
select is(pg_temp.free(), 'e0', 'until it comes');
select underway_test.advance_clock('0.5 seconds');
select is(pg_temp.free(), 'e0 d0', 'then it stands at the end');
select is(underway_test.line(), 'e d', 'and stays there');
insert into underway.ready_key (queue, concurrency_key, check_at) values ('email', 'f', underway._clock() + '1 second');
select underway_test.advance_clock('-1 hour');
select is(pg_temp.free(), 'e0 d0 f0', 'what was noted before the clock was put back waits no longer');

select * from finish();
rollback;
