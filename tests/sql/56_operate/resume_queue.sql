begin;
select plan(10);

create temporary table woken (queue text) on commit drop;

create or replace function underway._wake(queue text, delay interval default '0')
returns void
language sql
volatile
as 'insert into pg_temp.woken values (_wake.queue)';

select underway_test.ready_task('email');
select underway_test.ready_task('invoice');
select underway.pause_queue('email');
select underway.pause_queue('invoice');
truncate woken;

select is(underway.resume_queue('email'), true, 'resuming a paused queue returns true');
select results_eq('select queue from woken', $$ values ('email') $$, 'the workers of a resumed queue are notified');
select is((select paused_at from underway.queue where name = 'email'), null, 'a resumed queue has no time of pause');

select is(
    (select array_agg(queue) from underway.dequeue(array['email', 'invoice'], 10)), '{email}',
    'a claim returns the tasks of the resumed queue and none of a paused one'
);

select is(underway.resume_queue('email'), false, 'resuming a queue that is not paused returns false');
select is((select count(*) from woken), 1::bigint, 'no worker is notified for a queue that was not paused');

select isnt((select paused_at from underway.queue where name = 'invoice'), null, 'the other queues stay paused');

select is(underway.pause_queue('email'), true, 'a resumed queue can be paused again');

-- errors

select throws_ok(
    $$ select underway.resume_queue('nowhere') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a queue that does not exist is refused'
);

select throws_ok($$ select underway.resume_queue(null) $$, 'UW003', null, 'a null name is refused');

select * from finish();
rollback;
