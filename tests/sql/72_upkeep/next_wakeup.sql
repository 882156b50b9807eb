begin;
select plan(30);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue(queue) from unnest('{email, invoice, paused}'::text[]) as queue;

-- nothing to do

select is(underway.next_wakeup('{email}'), '1 second', 'a worker of an empty queue sleeps for a second');
select is(underway.next_wakeup('{}'), '1 second', 'a worker of no queue sleeps for a second');
select is(underway.next_wakeup('{nowhere}'), '1 second', 'a worker of a queue that does not exist sleeps for a second');
select is(underway.next_wakeup(null), '1 second', 'a worker of a null array of queues sleeps for a second');

-- tasks due later

select underway.enqueue('email', delay => '1 hour');
select is(underway.next_wakeup('{email}'), '1 second', 'a worker sleeps for at most a second');

select underway.enqueue('email', delay => '800 milliseconds', priority => 9);
select is(underway.next_wakeup('{email}'), '800 milliseconds', 'a worker sleeps until its next task is due');

select underway.enqueue('email', delay => '300 milliseconds', priority => -9);
select is(underway.next_wakeup('{email}'), '300 milliseconds', 'the task that is due first counts, whatever its priority');

select underway.enqueue('invoice', delay => '200 milliseconds');
select is(underway.next_wakeup('{email}'), '300 milliseconds', 'the tasks of other queues do not count');
select is(underway.next_wakeup('{email, invoice}'), '200 milliseconds', 'all queues of the worker count');

-- ready tasks

select underway_test.advance_clock('200 milliseconds');
select is(underway.next_wakeup('{invoice}'), '0', 'a worker does not sleep when a task is due now');

select underway_test.advance_clock('10 minutes');
select is(underway.next_wakeup('{invoice}'), '0', 'a worker does not sleep when a task was due before');

-- tasks that cannot be claimed

create temporary table held on commit drop as select id, lease from underway.dequeue('invoice', 1);
select is(underway.next_wakeup('{invoice}'), '1 second', 'a running task does not count');

select underway.fail(id, lease, '"refused"', retry_after => '500 milliseconds') from held;
select is(underway.next_wakeup('{invoice}'), '500 milliseconds', 'a task that waits for its next attempt counts');

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
select is(underway.next_wakeup('{nowhere}'), '1 second', 'without schedules a worker sleeps for a second');

select underway.schedule('hourly', 'scheduled', '0 * * * *');
select is(underway.next_wakeup('{nowhere}'), '1 second', 'a schedule that is not due within a second wakes no worker');

select underway.schedule('secondly', 'scheduled', '* * * * * *');
select is(underway.next_wakeup('{scheduled}'), '800 milliseconds', 'a worker sleeps until a schedule is due');
select is(underway.next_wakeup('{nowhere}'), '800 milliseconds', 'a schedule wakes the workers of all queues, because each of them may run it');
select is(underway.next_wakeup(null), '800 milliseconds', 'a schedule wakes a worker without queues');

select underway.create_queue('soon');
select underway.enqueue('soon', delay => '300 milliseconds');
select is(underway.next_wakeup('{soon}'), '300 milliseconds', 'a task that is due before a schedule counts');
select underway_test.advance_clock('799 milliseconds');
select is(underway.next_wakeup('{nowhere}'), '1 millisecond', 'a worker wakes at the time of a schedule');
select underway_test.advance_clock('1 millisecond');
select is(underway.next_wakeup('{nowhere}'), '50 milliseconds', 'a worker sleeps for 50 ms when a schedule is due now');
select underway_test.advance_clock('10 seconds');
select is(
    underway.next_wakeup('{nowhere}'), '50 milliseconds',
    'a worker sleeps for 50 ms when a schedule was due before, because another session may hold it'
);

select underway.run_schedules();
select is(underway.next_wakeup('{nowhere}'), '1 second', 'the next time of a schedule counts after it has run');

select underway_test.advance_clock('400 milliseconds');
select underway.pause_schedule('secondly');
select is(underway.next_wakeup('{nowhere}'), '1 second', 'a paused schedule wakes no worker');
select underway.resume_schedule('secondly');
select is(underway.next_wakeup('{nowhere}'), '600 milliseconds', 'a resumed schedule wakes workers again');

select underway.drop_queue('scheduled', force => true);
select underway_test.advance_clock('600 milliseconds');
select underway.run_schedules();
select is(underway.next_wakeup('{nowhere}'), '1 second', 'a failing schedule keeps no worker awake');

select underway.unschedule('secondly');

-- nothing is changed

select is(
    (select count(*) from underway.dequeue('paused', 10)), 1::bigint,
    'a task that has kept a worker awake can be claimed'
);

select * from finish();
rollback;
