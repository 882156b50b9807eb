begin;
select plan(23);

create function pg_temp.paused() returns text language sql as $$
    select string_agg(p.queue || '/' || p.concurrency_key, ' ' order by p.queue, p.concurrency_key)
    from underway.paused_key p
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('sms');
select underway_test.keyed_tasks('a1 b1 a2 1 b2');
select underway_test.keyed_tasks('a3', 'sms');
select is(underway_test.claimed(1), 'a1', 'a task of the key runs');

select is(underway.pause_key('email', 'a'), true, 'a key that was running says so');
select is(
    (select paused_at from underway.paused_key), '2030-01-01 12:00:00+00'::timestamptz,
    'a paused key knows since when'
);
select underway_test.advance_clock('1 hour');
select is(underway.pause_key('email', 'a'), false, 'a key that was paused already says so');
select is(
    (select paused_at from underway.paused_key), '2030-01-01 12:00:00+00'::timestamptz,
    'pausing again keeps the time of the first pause'
);

-- what a pause stops

select underway_test.done('a1');
select is(underway_test.claimed(), 'b1 1', 'nobody claims a task of a paused key; the other keys are served');
select is(underway_test.parked(), 'a2 b2', 'it waits like one whose key is taken');
select is(underway_test.freed(), '', 'and nothing is noted of its key, which has no room');
select underway_test.keyed_tasks('a4', priority => 9);
select is(underway_test.claimed(), '', 'whatever comes later and is more urgent waits as well');
select is(underway.next_wakeup('{email}'), '1 second', 'and keeps no worker awake');

-- what it does not stop

select is(underway_test.claimed(100, 'sms'), 'a3', 'the key of another queue is served');
select is(underway.pause_key('email', 'b'), true, 'another key may be paused beside it');
select lives_ok(
    format('select underway.complete(%s, %L)', t.id, t.lease), 'what runs, runs on to its end'
)
from underway.task t
where t.input = '"b1"';
select is(underway_test.claimed(), '', 'and then nothing of the key is claimed');
select is(underway.pause_key('email', 'nothing has it'), true, 'a key may be paused before any task has it');
select is(pg_temp.paused(), 'email/a email/b email/nothing has it', 'all of them are paused');
select underway_test.keyed_tasks('c1 2');
select is(underway_test.claimed(), 'c1 2', 'others run');

-- a key that is the name of a queue, and the other way round

select underway.pause_key('sms', 'email');
select underway_test.keyed_tasks('sms1');
select is(underway_test.claimed(), 'sms1', 'a key is not a queue');

-- refusals

select throws_ok(
    $$ select underway.pause_key('nowhere', 'a') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a queue that does not exist is refused'
);
select throws_ok($$ select underway.pause_key(null, 'a') $$, 'UW003', null, 'no queue is refused');
select throws_ok(
    $$ select underway.pause_key('email', '') $$, 'UW001', 'concurrency_key is ''''', 'an empty key is refused'
);
select throws_ok(
    $$ select underway.pause_key('email', null) $$, 'UW001', 'concurrency_key is NULL', 'no key is refused'
);
select is(
    pg_temp.paused(), 'email/a email/b email/nothing has it sms/email', 'a refusal pauses nothing'
);

select * from finish();
rollback;
