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

select is(underway.resume_queue('email'), true, 'a queue that was paused says so');
select results_eq('select queue from woken', $$ values ('email') $$, 'the workers of a resumed queue are woken');
select is((select paused_at from underway.queue where name = 'email'), null, 'a resumed queue is not paused');

select is(
    (select array_agg(queue) from underway.dequeue(array['email', 'invoice'], 10)), '{email}',
    'claims from a resumed queue go on, those from another do not'
);

select is(underway.resume_queue('email'), false, 'a queue that was running says so');
select is((select count(*) from woken), 1::bigint, 'nobody is woken for a queue that was running');

select isnt((select paused_at from underway.queue where name = 'invoice'), null, 'the other queues stay paused');

select is(underway.pause_queue('email'), true, 'a resumed queue can be paused again');

-- refusals

select throws_ok(
    $$ select underway.resume_queue('nowhere') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a queue that does not exist is refused'
);

select throws_ok($$ select underway.resume_queue(null) $$, 'UW003', null, 'no name is refused');

select * from finish();
rollback;
