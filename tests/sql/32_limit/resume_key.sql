begin;
select plan(20);

select underway_test.stop_clock();
select underway.create_queue('email', max_running_per_key => 2);
select underway.create_queue('sms');
select underway_test.keyed_tasks('a1 a2 a3 b1 a4');
select underway.pause_key('email', 'a');
select underway.pause_key('email', 'b');
select underway.pause_key('sms', 'a');
select is(underway_test.claimed(), '', 'nothing of the paused keys is claimed');

-- resumed

create temporary table woken (queue text) on commit drop;

create or replace function underway._wake(queue text, delay interval default '0')
returns void
language sql
volatile
as 'insert into pg_temp.woken values (_wake.queue)';

select is(underway.resume_key('email', 'a'), true, 'a key that was paused says so');
select results_eq('select queue from woken', $$ values ('email') $$, 'the workers of its queue are woken');
select is(underway_test.freed(), 'a', 'it is noted that the key is free');
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker looks at once');
select is(underway_test.claimed(), 'a1 a2', 'as many as may run are claimed, in their order');
select is(underway_test.freed(), '', 'then nothing more is noted');
select is(underway_test.parked(), 'a3 b1 a4', 'the others wait');
select underway_test.done('a1');
select is(underway_test.claimed(), 'a3', 'and are claimed one after another');

-- the other keys

select set_eq(
    'select queue collate "default", concurrency_key collate "default" from underway.paused_key',
    $$ values ('email', 'b'), ('sms', 'a') $$,
    'the other keys stay paused, and the key of another queue'
);

-- a key that runs

truncate woken;
select is(underway.resume_key('email', 'a'), false, 'a key that was running says so');
select is(underway.resume_key('email', 'nothing has it'), false, 'as does one that was never paused');
select is(underway.resume_key('email', null), false, 'and none at all');
select is_empty('select from woken', 'nobody is woken for it');
select is(underway_test.freed(), '', 'and nothing noted');

-- resumed while what ran before the pause still does

select underway.pause_key('email', 'a');
select underway.resume_key('email', 'a');
select is(underway_test.claimed(), '', 'a resumed key gets no more room than it has');
select is(underway.pause_key('email', 'a'), true, 'a resumed key can be paused again');
select underway_test.done('a2 a3');
select is(underway_test.claimed(), '', 'and then waits again');

-- refusals

select throws_ok(
    $$ select underway.resume_key('nowhere', 'a') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a queue that does not exist is refused'
);
select throws_ok($$ select underway.resume_key(null, 'a') $$, 'UW003', null, 'no queue is refused');

select * from finish();
rollback;
