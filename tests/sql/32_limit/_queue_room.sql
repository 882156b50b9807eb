-- how many may run of a queue, and when the next

begin;
select plan(36);

create function pg_temp.room() returns integer language sql as $$
    select underway._queue_room(underway_test.queue(), underway._clock())
$$;

create function pg_temp.open_in() returns text language sql as $$
    select case
        when opens.at = 'infinity' then 'somebody calls' else (opens.at - underway._clock())::text
    end
    from underway._open_at(underway_test.queue(), underway._clock()) as opens (at)
$$;

select underway_test.stop_clock();
select underway.create_queue('email');
select underway_test.keyed_tasks('1 2 3 4 5 6 7 8 9');

-- without a limit

select is(pg_temp.room(), 2147483647, 'a queue without limits has room for all');
select underway_test.claimed(3);
select is(pg_temp.room(), 2147483647, 'whatever runs');
select is(pg_temp.open_in(), '00:00:00.01', 'a queue with room is open, after a rest');

-- as many as may run

select underway.create_queue('email', max_running => 5);
select is(pg_temp.room(), 2, 'what ran before there was a limit is counted by it');
select is(underway_test.claimed(), '4 5', 'no more is claimed than there is room for');
select is(pg_temp.room(), 0, 'a full queue has no room');
select is(pg_temp.open_in(), 'somebody calls', 'and opens when somebody calls');
select is(underway_test.claimed(), '', 'nothing is claimed from it');
select underway_test.done('2 4');
select is(pg_temp.room(), 2, 'what has finished gives its room back');
select is(underway_test.claimed(1), '6', 'a claim may take less than there is room for');
select is(pg_temp.room(), 1, 'and leaves the rest');

select underway.create_queue('email', max_running => 2);
select is(pg_temp.room(), 0, 'where more run than a lower limit allows, there is no room');
select underway_test.done('1 3');
select is(pg_temp.room(), 0, 'until fewer do');
select underway_test.done('5');
select is(pg_temp.room(), 1, 'then there is');

select underway.create_queue('sms', max_running => 9);
select underway_test.keyed_tasks('10 11', 'sms');
select underway_test.claimed(100, 'sms');
select is(pg_temp.room(), 1, 'what runs in another queue takes no room');

-- whatever ends what runs

select is(underway_test.claimed(), '7', 'the room is taken');
create temp table held on commit drop as select t.id, t.lease from underway.task t where t.input = '"7"';
select underway.release(held.id, held.lease) from held;
select is(underway_test.claimed(), '7', 'a task that is given back is not counted, until it is claimed again');
select is(underway_test.claimed(), '', 'and then it is');
select underway.snooze(t.id, t.lease, '1 hour') from underway.task t where t.input = '"7"';
select is(pg_temp.room(), 1, 'nor is one that is put back');
select underway_test.claimed();
select underway.fail(t.id, t.lease, '"x"', retry_after => '1 hour') from underway.task t where t.input = '"8"';
select is(pg_temp.room(), 1, 'nor one that is to be tried again');
select underway_test.claimed();
select underway.cancel(t.id) from underway.task t where t.input = '"9"';
select is(pg_temp.room(), 1, 'nor one that was cancelled');
select underway_test.advance_clock('1 hour');
select underway.fail(t.id, t.lease, '"x"', retryable => false) from underway.task t where t.input = '"6"';
select is(pg_temp.room(), 2, 'nor one that failed for good');
select is(underway_test.claimed(), '7 8', 'what is tried again is counted as well');
select underway_test.advance_clock('1 hour');
select underway._reclaim(everything => true);
select is(pg_temp.room(), 2, 'an attempt whose lease has lapsed is not counted');

-- a limit that is taken away

select underway.create_queue('email', max_running => 0);
select is(pg_temp.room(), 2147483647, 'without its limit the queue has room for all again');

-- tokens

select underway.cancel(t.id) from underway.task t;
select underway.create_queue('email', rate_limit => 4, rate_period => '8 seconds');
select is(pg_temp.room(), 4, 'a queue with a rate limit has room for the tokens that it has');
select underway_test.keyed_tasks('1 2 3 4 5 6 7 8 9');
select is(underway_test.claimed(), '1 2 3 4', 'and no more is claimed');
select is(pg_temp.room(), 0, 'without a token there is no room');
select is(pg_temp.open_in(), '00:00:02', 'until the next one comes');
select underway_test.advance_clock('1999 milliseconds');
select is(pg_temp.room(), 0, 'a part of a token is none');
select is(pg_temp.open_in(), '00:00:00.01', 'nobody looks again without a rest, however near it is');
select underway_test.advance_clock('1 millisecond');
select is(pg_temp.room(), 1, 'it is there when its time has come');

-- both

select underway.create_queue('email', max_running => 4);
select is(pg_temp.room(), 0, 'of two limits the lower counts');
select is(pg_temp.open_in(), 'somebody calls', 'while all that may run do, tokens open nothing');
select underway_test.done('1 2 3');
select is(underway_test.claimed(), '5', 'and it may be either');
select is(pg_temp.open_in(), '00:00:02', 'with room for more to run, the next token does');

select * from finish();
rollback;
