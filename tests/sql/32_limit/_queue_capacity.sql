-- how many tasks of a queue may start now, and when the next one may

begin;
select plan(36);

create function pg_temp.room() returns integer language sql as $$
    select underway._queue_capacity(underway_test.queue(), underway._clock())
$$;

create function pg_temp.open_in() returns text language sql as $$
    select case
        when opens.at = 'infinity' then 'a slot is freed' else (opens.at - underway._clock())::text
    end
    from underway._capacity_at(underway_test.queue(), underway._clock()) as opens (at)
$$;

select underway_test.stop_clock();
select underway.create_queue('email');
select underway_test.keyed_tasks('1 2 3 4 5 6 7 8 9');

-- without a limit

select is(pg_temp.room(), 2147483647, 'a queue without limits has no bound');
select underway_test.claimed(3);
select is(pg_temp.room(), 2147483647, 'a queue without limits has no bound while tasks run');
select is(pg_temp.open_in(), '00:00:00.01', 'a queue with capacity is looked at again after 10 ms');

-- max_running

select underway.create_queue('email', max_running => 5);
select is(pg_temp.room(), 2, 'tasks that run already count against a new max_running');
select is(underway_test.claimed(), '4 5', 'a claim takes no more tasks than max_running allows');
select is(pg_temp.room(), 0, 'a queue with max_running running tasks has no capacity');
select is(pg_temp.open_in(), 'a slot is freed', 'a full queue has capacity again when a slot is freed');
select is(underway_test.claimed(), '', 'nothing is claimed from a full queue');
select underway_test.done('2 4');
select is(pg_temp.room(), 2, 'a finished task frees its slot');
select is(underway_test.claimed(1), '6', 'a claim may take fewer tasks than the queue has capacity for');
select is(pg_temp.room(), 1, 'a claim of one task uses one slot');

select underway.create_queue('email', max_running => 2);
select is(pg_temp.room(), 0, 'the capacity is 0 while more tasks run than a lowered max_running');
select underway_test.done('1 3');
select is(pg_temp.room(), 0, 'the capacity is 0 while as many tasks run as a lowered max_running');
select underway_test.done('5');
select is(pg_temp.room(), 1, 'there is capacity again when fewer tasks run than a lowered max_running');

select underway.create_queue('sms', max_running => 9);
select underway_test.keyed_tasks('10 11', 'sms');
select underway_test.claimed(100, 'sms');
select is(pg_temp.room(), 1, 'running tasks of another queue do not count');

-- each way in which a running task leaves

select is(underway_test.claimed(), '7', 'the last slot is taken by a claim');
create temp table held on commit drop as select t.id, t.lease from underway.task t where t.input = '"7"';
select underway.release(held.id, held.lease) from held;
select is(underway_test.claimed(), '7', 'a released task frees its slot and can be claimed again');
select is(underway_test.claimed(), '', 'a task that is claimed again after its release holds a slot');
select underway.snooze(t.id, t.lease, '1 hour') from underway.task t where t.input = '"7"';
select is(pg_temp.room(), 1, 'a snoozed task frees its slot');
select underway_test.claimed();
select underway.fail(t.id, t.lease, '"x"', retry_after => '1 hour') from underway.task t where t.input = '"8"';
select is(pg_temp.room(), 1, 'a failed attempt frees its slot');
select underway_test.claimed();
select underway.cancel(t.id) from underway.task t where t.input = '"9"';
select is(pg_temp.room(), 1, 'a cancelled task frees its slot');
select underway_test.advance_clock('1 hour');
select underway.fail(t.id, t.lease, '"x"', retryable => false) from underway.task t where t.input = '"6"';
select is(pg_temp.room(), 2, 'a task that failed permanently frees its slot');
select is(underway_test.claimed(), '7 8', 'later attempts hold slots too');
select underway_test.advance_clock('1 minute');
select underway._reclaim();
select is(pg_temp.room(), 2, 'a reclaimed task frees its slot');

-- a limit that is removed

select underway.create_queue('email', max_running => 0);
select is(pg_temp.room(), 2147483647, 'a queue whose max_running was removed has no bound');

-- tokens

select underway.cancel(t.id) from underway.task t;
select underway.create_queue('email', rate_limit => 4, rate_period => '8 seconds');
select is(pg_temp.room(), 4, 'a queue with a rate limit has capacity for each of its tokens');
select underway_test.keyed_tasks('1 2 3 4 5 6 7 8 9');
select is(underway_test.claimed(), '1 2 3 4', 'a claim takes no more tasks than the queue has tokens');
select is(pg_temp.room(), 0, 'a queue without tokens has no capacity');
select is(pg_temp.open_in(), '00:00:02', 'a queue without tokens has capacity again when the next token is there');
select underway_test.advance_clock('1999 milliseconds');
select is(pg_temp.room(), 0, 'a part of a token gives no capacity');
select is(pg_temp.open_in(), '00:00:00.01', 'a queue is looked at again after 10 ms at the earliest');
select underway_test.advance_clock('1 millisecond');
select is(pg_temp.room(), 1, 'a whole token gives capacity for one task');

-- both

select underway.create_queue('email', max_running => 4);
select is(pg_temp.room(), 0, 'of max_running and rate_limit the lower one decides');
select is(pg_temp.open_in(), 'a slot is freed', 'while max_running is reached, the next token does not matter');
select underway_test.done('1 2 3');
select is(underway_test.claimed(), '5', 'with free slots and one token one task is claimed');
select is(pg_temp.open_in(), '00:00:02', 'with free slots and no token the next token decides');

select * from finish();
rollback;
