begin;
select plan(22);

create function pg_temp.paused() returns text language sql as $$
    select string_agg(p.queue || '/' || p.concurrency_key, ' ' order by p.queue, p.concurrency_key)
    from underway.paused_key p
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('sms');
select underway_test.keyed_tasks('a1 b1 a2 1 b2');
select underway_test.keyed_tasks('a3', 'sms');
select is(underway_test.claimed(1), 'a1', 'a task of a key that is not paused is claimed');

select is(underway.pause_key('email', 'a'), true, 'pausing a key that was not paused returns true');
select is(
    (select paused_at from underway.paused_key), '2030-01-01 12:00:00+00'::timestamptz,
    'the time of the pause is stored'
);
select underway_test.advance_clock('1 hour');
select is(underway.pause_key('email', 'a'), false, 'pausing a paused key returns false');
select is(
    (select paused_at from underway.paused_key), '2030-01-01 12:00:00+00'::timestamptz,
    'pausing a paused key keeps the time of the first pause'
);

-- what a pause stops

select underway_test.done('a1');
select is(underway_test.claimed(), 'b1 1', 'a claim takes no task of a paused key and serves the other keys');
select is(underway_test.parked(), 'a2 b2', 'tasks of a paused key are parked like those of a full key');
select underway_test.keyed_tasks('a4', priority => 9);
select is(underway_test.claimed(), '', 'a new task of a paused key is not claimed, whatever its priority');
select is(underway.next_wakeup('{email}'), '1 second', 'tasks of a paused key keep no worker awake');

-- what it does not stop

select is(underway_test.claimed(100, 'sms'), 'a3', 'a key is paused in one queue and not in others');
select is(underway.pause_key('email', 'b'), true, 'several keys of a queue can be paused');
select lives_ok(
    format('select underway.complete(%s, %L)', t.id, t.lease), 'a running task of a paused key can be completed'
)
from underway.task t
where t.input = '"b1"';
select is(underway_test.claimed(), '', 'a slot that is freed in a paused key starts no task');
select is(underway.pause_key('email', 'nothing has it'), true, 'a key can be paused before any task has it');
select is(pg_temp.paused(), 'email/a email/b email/nothing has it', 'all paused keys are stored');
select underway_test.keyed_tasks('c1 2');
select is(underway_test.claimed(), 'c1 2', 'tasks of other keys and without a key are claimed');

-- a key that is the name of a queue

select underway.pause_key('sms', 'email');
select underway_test.keyed_tasks('sms1');
select is(underway_test.claimed(), 'sms1', 'a key with the name of a queue in which keys are paused is claimed');

-- refusals

select throws_ok(
    $$ select underway.pause_key('nowhere', 'a') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a queue that does not exist is refused'
);
select throws_ok($$ select underway.pause_key(null, 'a') $$, 'UW003', null, 'a null queue is refused');
select throws_ok(
    $$ select underway.pause_key('email', '') $$, 'UW001', 'concurrency_key is ''''', 'an empty key is refused'
);
select throws_ok(
    $$ select underway.pause_key('email', null) $$, 'UW001', 'concurrency_key is NULL', 'a null key is refused'
);
select is(
    pg_temp.paused(), 'email/a email/b email/nothing has it sms/email', 'a refused call pauses nothing'
);

select * from finish();
rollback;
