begin;
select plan(20);

select underway_test.stop_clock();
select underway.create_queue('email', max_running_per_key => 2);
select underway.create_queue('sms');
select underway_test.keyed_tasks('a1 a2 a3 b1 a4');
select underway.pause_key('email', 'a');
select underway.pause_key('email', 'b');
select underway.pause_key('sms', 'a');
select is(underway_test.claimed(), '', 'no task of a paused key is claimed');
select is(underway_test.parked(), 'a1 a2 a3 b1 a4', 'the claim parks the tasks of the paused keys');

-- resumed

create temporary table woken (queue text) on commit drop;

create or replace function underway._wake(queue text, delay interval default '0')
returns void
language sql
volatile
as 'insert into pg_temp.woken values (_wake.queue)';

select is(underway.resume_key('email', 'a'), true, 'resuming a paused key returns true');
select results_eq('select queue from woken', $$ values ('email') $$, 'the workers of the queue of a resumed key are woken');
select is(underway_test.ready(), 'a1 a2', 'max_running_per_key tasks of a resumed key become ready');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker of the queue of a resumed key looks again after 10 ms');
select is(underway_test.claimed(), 'a1 a2', 'max_running_per_key tasks of a resumed key are claimed, in their order');
select is(underway_test.parked(), 'a3 b1 a4', 'the other tasks of a resumed key stay parked');
select underway_test.done('a1');
select is(underway_test.claimed(), 'a3', 'the next task of a resumed key is claimed when a slot is freed');

-- the other keys

select set_eq(
    'select queue collate "default", concurrency_key collate "default" from underway.paused_key',
    $$ values ('email', 'b'), ('sms', 'a') $$,
    'other keys of the queue and the same key of other queues stay paused'
);

-- a key that is not paused

truncate woken;
select is(underway.resume_key('email', 'a'), false, 'resuming a key that is not paused returns false');
select is(underway.resume_key('email', 'nothing has it'), false, 'resuming a key that was never paused returns false');
select is(underway.resume_key('email', null), false, 'resuming a null key returns false');
select is_empty('select from woken', 'no worker is woken for a key that was not paused');

-- resumed while tasks from before the pause are running

select underway.pause_key('email', 'a');
select underway.resume_key('email', 'a');
select is(underway_test.claimed(), '', 'tasks that run since before the pause count against a resumed key');
select is(underway_test.parked(), 'b1 a4', 'the claim parks the tasks of a resumed key that is full');
select is(underway.pause_key('email', 'a'), true, 'a resumed key can be paused again');
select underway_test.done('a2 a3');
select is(underway_test.claimed(), '', 'a key that is paused again is not claimed from');

-- refusals

select throws_ok(
    $$ select underway.resume_key('nowhere', 'a') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a queue that does not exist is refused'
);
select throws_ok($$ select underway.resume_key(null, 'a') $$, 'UW003', null, 'a null queue is refused');

select * from finish();
rollback;
