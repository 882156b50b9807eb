-- a fair queue serves its concurrency keys in turn

begin;
select plan(31);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true, max_running_per_key => 100);

-- one by one

select underway_test.keyed_tasks('a1 a2 a3 a4 a5 b1 b2 1 2 3');
select is(
    underway_test.served(10), 'a1 b1 1 a2 b2 2 a3 3 a4 a5',
    'each key gives one task after the other, in its own order, and what has no key is one key more'
);
select is(underway_test.claimed(), '', 'until all are served');
select is(underway_test.line(), '', 'and nobody stands in line');

-- several at once

select underway_test.keyed_tasks('a1 a2 a3 a4 a5 a6 b1 b2 b3');
select is(underway_test.claimed(4), 'a1 b1 a2 b2', 'a claim of several takes of each key its share, in turn');
select is(underway_test.claimed(4), 'a3 b3 a4 a5', 'and where one has no more, the others give the rest');
select is(underway_test.claimed(4), 'a6', 'all that is there');
select underway_test.done('a1 a2 a3 a4 a5 a6 b1 b2 b3');

-- claims of a number that is no multiple of the keys

create function pg_temp.shares(claims integer, max_tasks integer) returns text language plpgsql as $$
begin
    for v_number in 1..shares.claims loop
        perform underway_test.claimed(shares.max_tasks);
    end loop;

    return string_agg(format('%s %s', counted.key, counted.tasks), ', ' order by counted.key)
    from (select r.concurrency_key as key, count(*) as tasks from underway.running r group by 1) counted;
end;
$$;

create function pg_temp.backlog(keys text, tasks integer) returns void language sql as $$
    select underway_test.no_tasks();
    select underway_test.keyed_tasks(string_agg(k.key || n, ' '))
    from string_to_table(backlog.keys, ' ') as k (key), generate_series(1, backlog.tasks) n
$$;

select pg_temp.backlog('a b c', 40);
select is(pg_temp.shares(12, 2), 'a 8, b 8, c 8', 'claims of two serve three keys alike');
select pg_temp.backlog('a b', 40);
select is(pg_temp.shares(8, 3), 'a 12, b 12', 'and claims of three two keys');
select pg_temp.backlog('c b a', 40);
select is(pg_temp.shares(3, 20), 'a 20, b 20, c 20', 'larger ones, too');
select pg_temp.backlog('a b c d e f g', 40);
select is(pg_temp.shares(14, 1), 'a 2, b 2, c 2, d 2, e 2, f 2, g 2', 'whatever the names of the keys');

-- a key that comes later

select pg_temp.backlog('a', 40);
select underway_test.served(5);
select underway_test.keyed_tasks('b1 b2');
select is(underway_test.served(4), 'a6 b1 a7 b2', 'a key that comes later does not wait for the backlog of another');

-- the order within a key

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1');
select underway_test.advance_clock('1 second');
select underway_test.keyed_tasks('a2');
select underway_test.keyed_tasks('b1 a3', priority => 5);
select is(underway_test.served(4), 'a3 b1 a1 a2', 'a higher priority comes first, and then what was ready first');

-- limits

select underway_test.no_tasks();
select underway.create_queue('email', max_running_per_key => 2);
select underway_test.keyed_tasks('a1 a2 a3 b1 1 2 3');
select is(underway_test.claimed(), 'a1 b1 1 a2 2 3', 'of a key no more run at once than may; of none, any number');
select underway_test.done('a1');
select is(underway_test.claimed(), 'a3', 'until there is room');

select underway_test.no_tasks();
select underway.create_queue('email', max_running => 3);
select underway_test.keyed_tasks('a1 a2 b1 b2');
select is(underway_test.claimed(), 'a1 b1 a2', 'of a queue as many as may');
select is(underway_test.claimed(), '', 'and no more');
select underway_test.done('a1');
select is(underway_test.claimed(), 'b2', 'until there is room');
select underway.create_queue('email', max_running => 0, max_running_per_key => 100);

select underway_test.no_tasks();
select underway.create_queue('email', rate_limit => 4, rate_period => '4 seconds');
select underway_test.keyed_tasks('a1 a2 a3 a4 a5 b1 b2 b3');
select is(underway_test.claimed(), 'a1 b1 a2 b2', 'a rate is shared by the keys');
select underway_test.advance_clock('2 seconds');
select is(underway_test.claimed(), 'a3 b3', 'and so are the tokens that come');
select underway.create_queue('email', rate_limit => 0);

select underway_test.no_tasks();
select underway.create_queue('email', rate_limit_per_key => 1, rate_period => '1 second');
select underway_test.keyed_tasks('a1 a2 b1 b2 1 2');
select is(underway_test.claimed(), 'a1 b1 1 2', 'each key has its own rate');
select is(underway_test.claimed(), '', 'and waits for it');
select underway_test.advance_clock('1 second');
select is(underway_test.claimed(), 'a2 b2', 'until its next token comes');
select underway.create_queue('email', rate_limit_per_key => 0);

-- a paused key

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 b1 b2 1');
select underway.pause_key('email', 'a');
select is(underway_test.served(3), 'b1 1 b2', 'a paused key is passed over');
select is(underway_test.claimed(), '', 'and not served');
select underway.resume_key('email', 'a');
select is(underway_test.claimed(), 'a1', 'until it is resumed');

-- what comes due

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 a3');
select underway.enqueue('email', '"b1"', concurrency_key => 'b', delay => '10 seconds');
select is(underway_test.served(1), 'a1', 'a task that is not due is not claimed');
select underway_test.advance_clock('10 seconds');
select is(underway_test.served(3), 'a2 b1 a3', 'when it is, it has the turn of its key');

-- two queues

select underway.create_queue('sms');
select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 b1');
select underway_test.keyed_tasks('a3 a4 b2', 'sms');
update underway.queue set max_running_per_key = 100 where name = 'sms';
select is(underway_test.served(2), 'a1 b1', 'keys are served in turn where their queue is fair');
select is(underway_test.served(2, 'sms'), 'a3 a4', 'and in their order where it is not');
select is(
    (select string_agg(name, ' ' order by name) from string_to_table(underway_test.claimed(100, 'email', 'sms'), ' ') name),
    'a2 b2', 'a claim of both takes what is left'
);

-- the notes of a key that runs on

select underway_test.no_tasks();
select pg_temp.backlog('a', 40);
select underway_test.served(20);
select underway_test.claimed(1);
select is(underway_test.line(), 'a', 'a key stands in line once, however many of its tasks have finished');

select * from finish();
rollback;
