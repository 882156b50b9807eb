-- how many more tasks of a key may run

begin;
select plan(13);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', max_running_per_key => 3);
select underway.create_queue('sms');

create function pg_temp.room(key text, queue text default 'email') returns integer language sql as $$
    select underway._key_room(underway_test.queue(room.queue), room.key, underway._clock())
$$;

-- what runs

select is(pg_temp.room('a'), 3, 'as many as run at once of a key may run where none does');
select underway_test.keyed_tasks('a1 a2 a3 a4 b1 1');
select underway_test.claimed(2);
select is(pg_temp.room('a'), 1, 'less those that run');
select is(pg_temp.room('b'), 3, 'of its own key');
select is(pg_temp.room('a', 'sms'), 1, 'in its own queue');
select underway_test.claimed(1);
select is(pg_temp.room('a'), 0, 'until there is no room');
select underway.create_queue('email', max_running_per_key => 2);
select is(pg_temp.room('a'), 0, 'nor less than none, when more run than may');

-- a pause

select underway.pause_key('email', 'b');
select is(pg_temp.room('b'), 0, 'a paused key has no room');
select underway.resume_key('email', 'b');
select is(pg_temp.room('b'), 2, 'until it is resumed');

-- tokens

select underway.create_queue('email', max_running_per_key => 100, rate_limit_per_key => 4, rate_period => '4 seconds');
select is(pg_temp.room('c'), 4, 'a key with a rate has room for as many as its bucket has tokens');
select underway._take_tokens(underway_test.queue(), underway._clock(), 4, 'c');
select underway_test.advance_clock('1900 milliseconds');
select is(pg_temp.room('c'), 1, 'whole ones');
select underway.create_queue('email', max_running_per_key => 3);
select is(pg_temp.room('d'), 3, 'the narrowest counts');

-- tasks without a key

select is(pg_temp.room(''), 2147483647, 'tasks without a key have room');
insert into underway.running (queue, concurrency_key, task) select 'email', '', n from generate_series(1000, 1100) n;
select is(pg_temp.room(''), 2147483647, 'however many run');

select * from finish();
rollback;
