begin;
select plan(30);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue(queue) from unnest('{email, invoice, paused}'::text[]) as queue;

-- nothing to do

select is(underway.next_wakeup('{email}'), '1 second', 'a worker of an empty queue sleeps for a second');
select is(underway.next_wakeup('{}'), '1 second', 'a worker of no queue sleeps for a second');
select is(underway.next_wakeup('{nowhere}'), '1 second', 'a worker of a queue that is gone sleeps for a second');
select is(underway.next_wakeup(null), '1 second', 'a worker that names none sleeps for a second');

-- tasks due later

select underway.enqueue('email', delay => '1 hour');
select is(underway.next_wakeup('{email}'), '1 second', 'nobody sleeps for longer than a second');

select underway.enqueue('email', delay => '800 milliseconds', priority => 9);
select is(underway.next_wakeup('{email}'), '800 milliseconds', 'a worker sleeps until its next task is due');

select underway.enqueue('email', delay => '300 milliseconds', priority => -9);
select is(underway.next_wakeup('{email}'), '300 milliseconds', 'the first that is due counts, whatever its priority');

select underway.enqueue('invoice', delay => '200 milliseconds');
select is(underway.next_wakeup('{email}'), '300 milliseconds', 'the tasks of other queues do not count');
select is(underway.next_wakeup('{email, invoice}'), '200 milliseconds', 'all queues of the worker count');

-- ready tasks

select underway_test.advance_clock('200 milliseconds');
select is(underway.next_wakeup('{invoice}'), '0', 'a worker does not sleep when a task is due now');

select underway_test.advance_clock('10 minutes');
select is(underway.next_wakeup('{invoice}'), '0', 'a worker does not sleep when a task was due before');

-- tasks that nobody may claim

create temporary table held on commit drop as select id, lease from underway.dequeue('invoice', 1);
select is(underway.next_wakeup('{invoice}'), '1 second', 'a task that runs does not count');

select underway.fail(id, lease, '"refused"', retry_after => '500 milliseconds') from held;
select is(underway.next_wakeup('{invoice}'), '500 milliseconds', 'a task that waits for its next attempt does');

select underway.enqueue('paused');
select underway.pause_queue('paused');
select is(underway.next_wakeup('{paused}'), '1 second', 'a worker of a paused queue sleeps for a second');
select is(
    underway.next_wakeup('{paused, invoice}'), '500 milliseconds',
    'a paused queue does not wake the workers of another'
);

select underway.resume_queue('paused');
select is(underway.next_wakeup('{paused}'), '0', 'a resumed queue counts again');

-- schedules

select underway.create_queue('scheduled');
select underway_test.stop_clock('2030-01-01 13:00:00.2+00');
select is(underway.next_wakeup('{nowhere}'), '1 second', 'without schedules nobody wakes for them');

select underway.schedule('hourly', 'scheduled', '0 * * * *');
select is(underway.next_wakeup('{nowhere}'), '1 second', 'nobody wakes for a schedule that is not due within a second');

select underway.schedule('secondly', 'scheduled', '* * * * * *');
select is(underway.next_wakeup('{scheduled}'), '800 milliseconds', 'a worker sleeps until a schedule is due');
select is(underway.next_wakeup('{nowhere}'), '800 milliseconds', 'whatever its queues, for anybody may run it');
select is(underway.next_wakeup(null), '800 milliseconds', 'whether it has any');

select underway.create_queue('soon');
select underway.enqueue('soon', delay => '300 milliseconds');
select is(underway.next_wakeup('{soon}'), '300 milliseconds', 'a task that is due before it counts');
select underway_test.advance_clock('799 milliseconds');
select is(underway.next_wakeup('{nowhere}'), '1 millisecond', 'it is awake when the time comes');
select underway_test.advance_clock('1 millisecond');
select is(underway.next_wakeup('{nowhere}'), '50 milliseconds', 'a worker hardly sleeps when a schedule is due now');
select underway_test.advance_clock('10 seconds');
select is(
    underway.next_wakeup('{nowhere}'), '50 milliseconds',
    'nor when one was due before; but it rests, for somebody may hold that'
);

select underway.run_schedules();
select is(underway.next_wakeup('{nowhere}'), '1 second', 'when it has run, the next time counts');

select underway_test.advance_clock('400 milliseconds');
select underway.pause_schedule('secondly');
select is(underway.next_wakeup('{nowhere}'), '1 second', 'nobody wakes for a schedule that is paused');
select underway.resume_schedule('secondly');
select is(underway.next_wakeup('{nowhere}'), '600 milliseconds', 'a resumed one counts again');

select underway.drop_queue('scheduled', force => true);
select underway_test.advance_clock('600 milliseconds');
select underway.run_schedules();
select is(underway.next_wakeup('{nowhere}'), '1 second', 'a failing schedule keeps nobody awake');

select underway.unschedule('secondly');

-- the look that a worker takes changes nothing

select is(
    (select count(*) from underway.dequeue('paused', 10)), 1::bigint,
    'what it sees is still there to be claimed'
);

select * from finish();
rollback;
