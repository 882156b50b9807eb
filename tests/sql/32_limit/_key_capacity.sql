begin;
select plan(16);

create function pg_temp.capacity(key text default 'a', taken bigint default 0, queue text default 'email') returns integer language sql as $$
    select c.tasks
    from underway._key_capacity(underway_test.queue(capacity.queue), capacity.key, capacity.taken, underway._clock()) c (tasks)
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

-- max_running_per_key

select is(pg_temp.capacity(), 1, 'of a new key one task may start');
select underway.create_queue('email', max_running_per_key => 3);
select is(pg_temp.capacity(), 3, 'of a key as many tasks may start as max_running_per_key says');
select underway_test.keyed_tasks('a1 a2 a3 a4 b1 1');
select is(pg_temp.capacity(), 3, 'ready tasks of a key take no slot');
select is(underway_test.claimed(2), 'a1 a2', 'two tasks of a key run');
select is(pg_temp.capacity(), 1, 'running tasks of a key take its slots');
select is(pg_temp.capacity('b'), 3, 'running tasks of another key take no slot');
select is(pg_temp.capacity(taken => 1), 0, 'tasks that the caller has chosen take slots');
select is(pg_temp.capacity(taken => 3), -2, 'the capacity is negative when the caller has chosen more tasks than may start');
select underway.create_queue('email', max_running_per_key => 1);
select is(pg_temp.capacity(), 0, 'a key with more running tasks than a lower max_running_per_key is full');

select underway.create_queue('sms');
select is(pg_temp.capacity(queue => 'sms'), 1, 'running tasks of a key of another queue take no slot');

-- rate_limit_per_key

select underway.create_queue('email', max_running_per_key => 5, rate_limit_per_key => 2, rate_period => '10 seconds');
select is(pg_temp.capacity(), 2, 'a key has no more capacity than tokens');
select underway.create_queue('email', max_running_per_key => 3);
select is(pg_temp.capacity(), 1, 'a key has no more capacity than free slots');
select underway._take_tokens(underway_test.queue(), underway._clock(), 1, 'b');
select is(pg_temp.capacity('b', taken => 1), 0, 'tasks that the caller has chosen take tokens');
select underway_test.advance_clock('4.999999 seconds');
select is(pg_temp.capacity('b'), 1, 'a part of a token gives a key no capacity');
select underway_test.advance_clock('0.000001 seconds');
select is(pg_temp.capacity('b'), 2, 'a whole token gives a key capacity for one task');

-- a paused key

select underway.pause_key('email', 'b');
select is(pg_temp.capacity('b'), 0, 'a paused key has no capacity');

select * from finish();
rollback;
