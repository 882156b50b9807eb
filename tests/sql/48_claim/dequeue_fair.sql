-- a fair queue serves its concurrency keys in turn

begin;
select plan(40);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true, max_running_per_key => 100);

-- one by one

select underway_test.keyed_tasks('a1 a2 a3 a4 a5 b1 b2 c1');
select is(
    underway_test.served(8), 'a1 b1 c1 a2 b2 a3 a4 a5',
    'claims of one task take the keys in turn and the tasks of a key in their order'
);
select is(underway_test.claimed_later(), '', 'a fair queue is empty after all its tasks were claimed');
select is(underway_test.ready() || underway_test.parked(), '', 'no task of a fair queue stays behind');

select underway_test.keyed_tasks('a1 a2 1 b1 b2 2');
select is(
    underway_test.served(6), 'a1 1 b1 2 a2 b2',
    'tasks without a key are not part of the turns: they are claimed by the time since when they are ready'
);

-- several at once

select underway_test.keyed_tasks('a1 a2 a3 a4 a5 a6 b1 b2 b3');
select is(underway_test.claimed_later(4), 'a1 b1 a2 b2', 'a claim of several tasks takes of each key its share, in turn');
select is(underway_test.claimed_later(4), 'a3 b3 a4 a5', 'where a key has too few tasks, the other keys fill the claim');
select is(underway_test.claimed_later(4), 'a6', 'a claim takes the last tasks of the last key');
select underway_test.done('a1 a2 a3 a4 a5 a6 b1 b2 b3');

-- claims of a number that is no multiple of the keys

create function pg_temp.shares(claims integer, max_tasks integer) returns text language plpgsql as $$
begin
    for v_number in 1..shares.claims loop
        perform underway_test.claimed_later(shares.max_tasks);
    end loop;

    return string_agg(format('%s %s', counted.key, counted.tasks), ', ' order by counted.key)
    from (
        select t.concurrency_key as key, count(*) as tasks from underway.task t where t.state = 'in_progress' group by 1
    ) counted;
end;
$$;

create function pg_temp.backlog(keys text, tasks integer) returns void language sql as $$
    select underway_test.no_tasks();
    select underway_test.keyed_tasks(string_agg(k.key || n, ' ' order by k.number, n))
    from string_to_table(backlog.keys, ' ') with ordinality as k (key, number), generate_series(1, backlog.tasks) n
$$;

select pg_temp.backlog('a b c', 40);
select is(pg_temp.shares(12, 2), 'a 8, b 8, c 8', 'claims of two tasks serve three keys equally');
select pg_temp.backlog('a b', 40);
select is(pg_temp.shares(8, 3), 'a 12, b 12', 'claims of three tasks serve two keys equally');
select pg_temp.backlog('c b a', 40);
select is(pg_temp.shares(3, 20), 'a 20, b 20, c 20', 'claims of twenty tasks serve three keys equally');
select pg_temp.backlog('a b c d e f g', 40);
select is(
    pg_temp.shares(14, 1), 'a 2, b 2, c 2, d 2, e 2, f 2, g 2', 'claims of one task serve seven keys equally'
);

-- one ready task for each key

select pg_temp.backlog('a b', 5);
select is(underway_test.claimed_later(1), 'a1', 'the first claim takes the oldest task of the first key');
select is(underway_test.ready(), 'a2 b1', 'after a claim each key has one ready task, the next of the key');
select is(underway_test.parked(), 'a3 a4 a5 b2 b3 b4 b5', 'the other tasks of a fair queue are parked');

-- a key that comes later

select pg_temp.backlog('a', 40);
select underway_test.served(5);
select underway_test.keyed_tasks('b1 b2');
select is(underway_test.served(4), 'b1 a6 b2 a7', 'a key that comes later does not wait for the backlog of another key');

-- the order within a key

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1');
select underway_test.advance_clock('1 second');
select underway_test.keyed_tasks('a2');
select underway_test.keyed_tasks('b1 a3', priority => 5);
select is(
    underway_test.served(4), 'b1 a3 a1 a2', 'a higher priority comes first, and within it the key that was ready first'
);

-- limits

select underway_test.no_tasks();
select underway.create_queue('email', max_running_per_key => 2);
select underway_test.keyed_tasks('a1 a2 a3 b1 1 2 3');
select is(
    underway_test.claimed_later(), 'a1 b1 1 2 3 a2', 'of a key at most max_running_per_key tasks run; without a key any number does'
);
select underway_test.done('a1');
select is(underway_test.claimed_later(), 'a3', 'a freed slot of a key goes to its next task');

select underway_test.no_tasks();
select underway.create_queue('email', max_running => 3);
select underway_test.keyed_tasks('a1 a2 b1 b2');
select is(underway_test.claimed_later(), 'a1 b1 a2', 'of a fair queue at most max_running tasks run');
select is(underway_test.claimed_later(), '', 'nothing is claimed from a fair queue at max_running');
select underway_test.done('a1');
select is(underway_test.claimed_later(), 'b2', 'a freed slot of a fair queue goes to the key whose turn it is');
select underway.create_queue('email', max_running => 0, max_running_per_key => 100);

select underway_test.no_tasks();
select underway.create_queue('email', rate_limit => 4, rate_period => '4 seconds');
select underway_test.keyed_tasks('a1 a2 a3 a4 a5 b1 b2 b3');
select is(underway_test.claimed_later(), 'a1 b1 a2 b2', 'the keys of a fair queue share its rate limit');
select underway_test.advance_clock('2 seconds');
select is(underway_test.claimed_later(), 'a3 b3', 'the keys of a fair queue share new tokens');
select underway.create_queue('email', rate_limit => 0);

select underway_test.no_tasks();
select underway.create_queue('email', rate_limit_per_key => 1, rate_period => '1 second');
select underway_test.keyed_tasks('a1 a2 b1 b2 1 2');
select is(underway_test.claimed_later(), 'a1 b1 1 2', 'each key of a fair queue has its own rate limit');
select is(underway_test.claimed_later(), '', 'a key without tokens is not served');
select underway_test.advance_clock('1 second');
select underway_test.claimed_later();
select is(underway_test.claimed_later(), 'a2 b2', 'a key is served again when it has a token');
select underway.create_queue('email', rate_limit_per_key => 0);

-- a paused key

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 b1 b2 c1');
select underway.pause_key('email', 'a');
select is(underway_test.served(3), 'b1 c1 b2', 'a paused key is skipped');
select is(underway_test.claimed_later(), '', 'the tasks of a paused key are not claimed');
select underway.resume_key('email', 'a');
select is(underway_test.claimed_later(), 'a1', 'a resumed key is served again');

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 a3 a4 a5 a6');
select is(underway_test.served(1), 'a1', 'the first task of a key is served before the key is paused');
select underway.pause_key('email', 'a');
select is(underway_test.claimed_later(), '', 'the next task of the key, which was ready, is not claimed while it is paused');
select underway.resume_key('email', 'a');
select is(underway_test.served(5), 'a2 a3 a4 a5 a6', 'a pause keeps the order of the tasks of a key');

-- delayed tasks

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 a3');
select underway.enqueue('email', '"b1"', concurrency_key => 'b', delay => '10 seconds');
select is(underway_test.served(1), 'a1', 'a task that is not due is not claimed');
select underway_test.advance_clock('10 seconds');
select is(underway_test.served(3), 'a2 b1 a3', 'a delayed task that is due takes the turn of its key');

-- two queues

select underway.create_queue('sms', max_running_per_key => 100);
select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 b1');
select underway_test.keyed_tasks('a3 a4 b2', 'sms');
select is(underway_test.served(2), 'a1 b1', 'keys are served in turn where their queue is fair');
select is(underway_test.served(2, 'sms'), 'a3 a4', 'keys are served in the order of tasks where their queue is not fair');
select is(
    (select string_agg(name, ' ' order by name) from string_to_table(underway_test.claimed_later(100, 'email', 'sms'), ' ') name),
    'a2 b2', 'a claim of both queues takes the remaining tasks'
);

-- a backlog of one key

select underway_test.no_tasks();
select underway.enqueue_many(
    'email', array(select to_jsonb('a' || number) from generate_series(1, 5000) number), concurrency_key => 'a'
);
select underway_test.keyed_tasks('b1');
select is(underway_test.ready(), 'a1 b1', 'of many tasks of one key that are enqueued at once one starts ready');
select is(underway_test.claimed_later(2), 'a1 b1', 'the first claim finds another key behind a backlog of 5,000 tasks');
select is(underway_test.served(2), 'a2 a3', 'the backlog goes on in its order');

select * from finish();
rollback;
