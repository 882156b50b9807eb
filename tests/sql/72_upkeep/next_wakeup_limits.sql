-- how long the workers of queues with limits sleep

begin;
select plan(27);

select underway_test.stop_clock();
select underway.create_queue('email', max_running => 1);
select underway.create_queue('plain');

-- as many as may run

select is(underway.next_wakeup('{email}'), '1 second', 'a worker of an empty queue sleeps for a second');
select underway_test.keyed_tasks('1 2');
delete from underway.keyed_queue;
select is(
    underway.next_wakeup('{email}'), '10 milliseconds',
    'a worker hardly sleeps when a task may run, but it rests, for somebody may be claiming it'
);
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '1 second', 'nobody is awake for a task that may not run');
select underway.enqueue('plain', '"3"');
select is(underway.next_wakeup('{email,plain}'), '0', 'another queue that has a task keeps its workers awake');
select underway_test.claimed(100, 'plain');
select underway_test.done('1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'when there is room again, it hardly sleeps');
select underway_test.claimed();
select underway.enqueue('email', '"4"', delay => '300 milliseconds');
select is(underway.next_wakeup('{email}'), '1 second', 'a full queue wakes nobody for a task that comes');
select underway_test.done('2');
select is(underway.next_wakeup('{email}'), '300 milliseconds', 'one with room does');

-- tokens

select underway_test.no_tasks();
select underway.create_queue('email', max_running => 0, rate_limit => 2, rate_period => '800 milliseconds');
select underway_test.keyed_tasks('1 2 3 4');
delete from underway.keyed_queue;
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker hardly sleeps while there are tokens');
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '400 milliseconds', 'without one it sleeps until the next one comes');
select underway_test.advance_clock('150 milliseconds');
select is(underway.next_wakeup('{email}'), '250 milliseconds', 'whenever it looks');
select underway_test.advance_clock('250 milliseconds');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'and is awake when it is there');
select underway.create_queue('email', max_running => 2);
select is(
    underway.next_wakeup('{email}'), '1 second', 'tokens keep nobody awake while all that may run do'
);
select underway_test.done('1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'but when there is room');
select underway.create_queue('email', rate_period => '1 day');
select underway_test.claimed();
select underway_test.advance_clock('1 hour');
select underway_test.done('2');
select underway_test.claimed();
delete from underway.task where state = 'in_progress';
select is(underway.next_wakeup('{email}'), '1 second', 'nobody sleeps for longer than a second for a token');

-- a token that comes before the task is due, or after it

select underway.create_queue('email', max_running => 0, rate_period => '800 milliseconds');
select underway_test.no_tasks();
select underway_test.keyed_tasks('1 2');
delete from underway.keyed_queue;
select underway_test.claimed();
select underway.enqueue('email', '"5"', delay => '500 milliseconds');
select is(underway.next_wakeup('{email}'), '500 milliseconds', 'of a task and its token, what comes later counts');
select underway.enqueue('email', '"6"', delay => '100 milliseconds');
select is(underway.next_wakeup('{email}'), '400 milliseconds', 'whichever that is');
select underway.create_queue('email', rate_limit => 0);
select is(underway.next_wakeup('{email}'), '100 milliseconds', 'without a limit the task alone does');

-- keys

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 a3');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker hardly sleeps when a task with a key is there');
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '1 second', 'nobody is awake for what waits for its key');
select underway_test.done('a1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'when the key is free, it hardly sleeps');
select is(underway.next_wakeup('{plain}'), '1 second', 'but the workers of other queues do');
select underway.pause_queue('email');
select is(underway.next_wakeup('{email}'), '1 second', 'as do those of a paused one');
select underway.resume_queue('email');
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '1 second', 'when the key is taken again, there is nothing to wake for');
select underway.create_queue('email', max_running => 1);
select underway_test.keyed_tasks('b1');
select underway.cancel(underway_test.named('a3'));
select is(underway.next_wakeup('{email}'), '1 second', 'a free key keeps nobody awake in a full queue');
select underway_test.done('a2');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'but in one with room');
select underway_test.claimed();
select underway_test.done('b1');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a key that was freed is looked at once');
select underway_test.claimed();
select is(underway.next_wakeup('{email}'), '1 second', 'and then no more, when nothing waits for it');

select * from finish();
rollback;
