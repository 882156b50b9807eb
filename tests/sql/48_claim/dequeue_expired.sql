-- claims and tasks that expire

begin;
select plan(24);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('limited', max_running => 2);
select underway.create_queue('rate', rate_limit => 2, rate_period => '1 hour');
select underway.create_queue('fair', fair => true);

create function pg_temp.enqueue(names text, expires interval default null, queue text default 'email', priority integer default 0)
returns void language sql as $$
    select underway.enqueue(
        enqueue.queue, to_jsonb(name), expires => enqueue.expires, priority => enqueue.priority,
        concurrency_key => nullif(rtrim(name, '0123456789'), '')
    )
    from string_to_table(enqueue.names, ' ') as name
$$;
create function pg_temp.expired() returns text language sql as $$
    select coalesce(string_agg(h.input #>> '{}', ' ' order by h.id), '')
    from underway.task_history h
    where h.reason = 'expired'
$$;

-- a plain queue

select pg_temp.enqueue('1 2', '1 minute');
select pg_temp.enqueue('3');
select pg_temp.enqueue('4', '1 minute');
select pg_temp.enqueue('5');
select is(underway_test.claimed(1), '1', 'a task that has not expired is claimed');
select underway_test.advance_clock('1 minute');
select is(underway_test.claimed(1), '3', 'a claim skips a task that has expired');
select is(pg_temp.expired(), '2 4', 'the claim cancels the expired tasks that it has met');
select is(underway_test.claimed(), '5', 'the next claim goes on behind them');
select is((select has_keys from underway.queue where name = 'email'), false, 'claims do not look for concurrency keys because of it');

-- after the first attempt

select underway.release(t.id, t.lease) from underway.task t where t.input = '"1"';
select is(underway_test.claimed(), '', 'a task that was released has not begun, so it expires');
select pg_temp.enqueue('6 7', '1 minute');
select is(underway_test.claimed(1), '6', 'a task is claimed in time');
select underway.fail(t.id, t.lease, '"no"', retry_after => '2 minutes') from underway.task t where t.input = '"6"';
select is(
    (select expires_at from underway.task t where t.input = '"6"'), null, 'a task whose attempt has failed does not expire any more'
);
select is(underway_test.claimed(1), '7', 'another task is claimed in time');
select underway.snooze(t.id, t.lease, '2 minutes') from underway.task t where t.input = '"7"';
select underway_test.advance_clock('2 minutes');
select is(underway_test.claimed(), '6', 'a snoozed task expires, because its attempt does not count');

-- many

select underway_test.no_tasks();
delete from underway.task_history;
select underway.enqueue_many('email', array_fill('0'::jsonb, array[2500]), expires => '1 minute');
select pg_temp.enqueue('8');
select underway_test.advance_clock('1 minute');
select is(underway_test.claimed(1), '', 'a claim cancels at most a thousand tasks');
select is((select count(*) from underway.task_history), 1000::bigint, 'it cancels a thousand');
select is(underway_test.claimed(1), '', 'so does the next');
select is(underway_test.claimed(1), '8', 'until a task can be claimed');

-- priorities

select pg_temp.enqueue('9', '1 minute', priority => 5);
select pg_temp.enqueue('10', priority => 1);
select underway_test.advance_clock('1 minute');
select is(underway_test.claimed(1), '10', 'an expired task of a high priority does not stop the claim of others');

-- a concurrency key in a queue that was plain

select pg_temp.enqueue('a1', '1 minute');
update underway.queue set has_keys = false;
select underway_test.advance_clock('1 minute');
select is(underway_test.claimed(), '', 'a plain claim leaves expired tasks with a concurrency key');
select is(underway_test.claimed() || pg_temp.expired() like '%a1', true, 'the next one cancels them');

-- limits

select pg_temp.enqueue('1 2 3', '1 minute', 'limited');
select pg_temp.enqueue('4 5 6', queue => 'limited');
select underway_test.advance_clock('1 minute');
select is(underway_test.claimed(10, 'limited'), '4 5', 'an expired task takes no slot');

select pg_temp.enqueue('1 2 3', '1 minute', 'rate');
select pg_temp.enqueue('4 5 6', queue => 'rate');
select underway_test.advance_clock('1 minute');
select is(underway_test.claimed(10, 'rate'), '4 5', 'an expired task takes no token');

-- keys

select underway_test.no_tasks();
delete from underway.task_history;
select pg_temp.enqueue('a1 b1', '1 minute');
select pg_temp.enqueue('a2 b2 3');
select underway_test.advance_clock('1 minute');
select is(underway_test.claimed(), 'a2 b2 3', 'an expired task does not take the slot of its key');

select pg_temp.enqueue('k1');
select is(underway_test.claimed(), 'k1', 'a key is full');
select pg_temp.enqueue('k2', '1 minute');
select is(underway_test.claimed() || underway_test.parked(), 'k2', 'its next task is parked');
select underway_test.advance_clock('1 minute');
select is((underway._expire_overdue()).expired, 1, 'a parked task expires');

-- a fair queue

select pg_temp.enqueue('a1', '1 minute', 'fair');
select pg_temp.enqueue('a2 b1', queue => 'fair');
select underway_test.advance_clock('1 minute');
select set_eq(
    $$ select unnest(string_to_array(underway_test.claimed(10, 'fair') || ' ' || underway_test.claimed_later(10, 'fair'), ' ')) $$,
    $$ select unnest('{a2,b1,""}'::text[]) $$,
    'an expired task of a fair queue takes no turn'
);

select * from finish();
rollback;
