-- how long the workers of queues with limits sleep

begin;
select plan(34);

select underway_test.stop_clock();
select underway.create_queue('email', max_running => 1);
select underway.create_queue('plain');

-- max_running

select is(underway.next_wakeup('{email}'), '1 second', 'a worker of an empty queue sleeps for a second');
select underway_test.keyed_tasks('1 2');
select is(
    underway.next_wakeup('{email}'), '10 milliseconds',
    'a worker of a queue with limits sleeps for 10 ms when a task may run, because another session may be claiming it'
);
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '1 second', 'a task of a queue at max_running keeps no worker awake');
select underway.enqueue('plain', '"3"');
select is(underway.next_wakeup('{email,plain}'), '0', 'a ready task of a queue without limits keeps the workers awake');
select underway_test.claimed(100, 'plain');
select underway_test.done('1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker sleeps for 10 ms when a slot was freed');
select underway_test.claimed();
select underway.enqueue('email', '"4"', delay => '300 milliseconds');
select is(underway.next_wakeup('{email}'), '1 second', 'a delayed task of a queue at max_running wakes no worker');
select underway_test.done('2');
select is(underway.next_wakeup('{email}'), '300 milliseconds', 'a delayed task of a queue with a free slot wakes a worker');

-- tokens

select underway_test.no_tasks();
select underway.create_queue('email', max_running => 0, rate_limit => 2, rate_period => '800 milliseconds');
select underway_test.keyed_tasks('1 2 3 4');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker sleeps for 10 ms while the queue has tokens');
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '400 milliseconds', 'a worker of a queue without tokens sleeps until the next token');
select underway_test.advance_clock('150 milliseconds');
select is(underway.next_wakeup('{email}'), '250 milliseconds', 'the remaining time until the next token is returned');
select underway_test.advance_clock('250 milliseconds');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker sleeps for 10 ms when the next token is there');
select underway.create_queue('email', max_running => 2);
select is(
    underway.next_wakeup('{email}'), '1 second', 'tokens keep no worker awake while max_running is reached'
);
select underway_test.done('1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a token keeps a worker awake when a slot was freed');
select underway.create_queue('email', rate_period => '1 day');
select underway_test.claimed();
select underway_test.advance_clock('1 hour');
select underway_test.done('2');
select underway_test.claimed();
delete from underway.task where state = 'in_progress';
select is(underway.next_wakeup('{email}'), '1 second', 'no worker sleeps for longer than a second for a token');

-- a token that comes before the task is due, or after it

select underway.create_queue('email', max_running => 0, rate_period => '800 milliseconds');
select underway_test.no_tasks();
select underway_test.keyed_tasks('1 2');
select underway_test.claimed();
select underway.enqueue('email', '"5"', delay => '500 milliseconds');
select is(underway.next_wakeup('{email}'), '500 milliseconds', 'of a task that is due and the next token the later time counts');
select underway.enqueue('email', '"6"', delay => '100 milliseconds');
select is(underway.next_wakeup('{email}'), '400 milliseconds', 'a token that comes after the task is due counts');
select underway.create_queue('email', rate_limit => 0);
select is(underway.next_wakeup('{email}'), '100 milliseconds', 'the time of the task counts after the limit was removed');

-- keys

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 a3');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker sleeps for 10 ms when a task with a key is ready');
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '1 second', 'parked tasks keep no worker awake');
select underway_test.done('a1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker sleeps for 10 ms when a key was freed');
select is(underway.next_wakeup('{plain}'), '1 second', 'a freed key does not wake the workers of other queues');
select underway.pause_queue('email');
select is(underway.next_wakeup('{email}'), '1 second', 'a freed key does not wake the workers of a paused queue');
select underway.resume_queue('email');
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '1 second', 'a key that is full again keeps no worker awake');
select underway.create_queue('email', max_running => 1);
select underway_test.keyed_tasks('b1');
select underway.cancel(underway_test.named('a3'));
select is(underway.next_wakeup('{email}'), '1 second', 'a free key keeps no worker awake while max_running is reached');
select underway_test.done('a2');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a free key keeps a worker awake in a queue with a free slot');
select underway_test.claimed();
select underway_test.done('b1');
select is(underway.next_wakeup('{email}'), '1 second', 'a key without pending tasks keeps no worker awake');

-- tokens of keys

select underway_test.no_tasks();
select underway.create_queue(name, rate_limit_per_key => 1, rate_period => '1 hour') from unnest('{sms,fax}'::text[]) as name;
select underway.create_queue('plain', rate_period => '1 hour');
insert into underway.ready_key (queue, concurrency_key, check_at)
select given.queue, given.key, underway._clock() + given.after
from (
    values ('sms', 'a', interval '600 ms'), ('sms', 'b', '700 ms'), ('fax', 'a', '800 ms'), ('plain', 'a', '100 ms')
) given (queue, key, after);
select is(underway.next_wakeup('{sms}'), '600 milliseconds', 'a worker sleeps until the first key of its queue has a token');
select is(underway.next_wakeup('{fax,sms}'), '600 milliseconds', 'a worker sleeps until the first key of its queues has a token');
select is(underway.next_wakeup('{plain}'), '1 second', 'a key of a queue without a rate limit per key wakes no worker');
select underway.pause_queue('sms');
select is(underway.next_wakeup('{fax,sms}'), '800 milliseconds', 'a key of a paused queue wakes no worker');
select underway.resume_queue('sms');
select underway_test.advance_clock('2 seconds');
select is(underway.next_wakeup('{sms}'), '10 milliseconds', 'a worker sleeps for 10 ms when a key had its token before');

-- more than ten queues

select underway.create_queue('many_' || number) from generate_series(1, 20) number;
select is(
    underway.next_wakeup(array(select 'many_' || number from generate_series(1, 20) number)), '1 second',
    'a worker of twenty empty queues sleeps for a second'
);
select underway.enqueue('many_7', delay => '300 milliseconds');
select is(
    underway.next_wakeup(array(select 'many_' || number from generate_series(1, 20) number)), '300 milliseconds',
    'a worker of twenty queues sleeps until the first task is due'
);
insert into underway.ready_key (queue, concurrency_key, check_at) values ('many_8', 'a', underway._clock() + interval '200 ms');
update underway.queue set rate_limit_per_key = 1 where name = 'many_8';
select is(
    underway.next_wakeup(array(select 'many_' || number from generate_series(1, 20) number)), '200 milliseconds',
    'a worker of twenty queues sleeps until the first key has a token'
);

select * from finish();
rollback;
