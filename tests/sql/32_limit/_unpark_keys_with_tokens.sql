begin;
select plan(15);

-- parked: tasks of these names are parked, in their order, a second apart.
create function pg_temp.parked(names text) returns void language sql as $$
    select underway_test.keyed_tasks(parked.names);
    update underway.task t
    set parked = true, ready_at = t.ready_at - interval '1 hour' + given.number * interval '1 second'
    from string_to_table(parked.names, ' ') with ordinality as given (name, number)
    where t.input #>> '{}' = given.name;
$$;

create function pg_temp.wake() returns text language sql as $$
    select underway._unpark_keys_with_tokens(underway_test.queue(), underway._clock());
    select underway_test.ready();
$$;

create function pg_temp.look(keys text[], queue text default 'email') returns text language sql as $$
    select underway._wake_key_at_next_token(underway_test.queue(look.queue), look.keys, underway._clock());
    select coalesce(string_agg(
        format('%s %s', r.concurrency_key, to_char(r.check_at at time zone 'UTC', 'HH24:MI:SS')), ', ' order by r.concurrency_key
    ), '')
    from underway.ready_key r
    where r.queue = look.queue;
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', rate_limit_per_key => 2, rate_period => '10 seconds', max_running_per_key => 10);
select underway.create_queue('sms', rate_limit_per_key => 2, rate_period => '10 seconds');
select pg_temp.parked('a1 a2 a3 a4 b1 b2 c1');

-- when to look at a key

select is(pg_temp.look('{a}'), '', 'no time is recorded for a key that has tokens');
select underway_test.keyed_tasks('d1');
select underway._take_tokens(underway_test.queue(), underway._clock(), 2, key) from unnest('{a,b,d}'::text[]) as key;
select is(
    pg_temp.look('{a,b,a}'), 'a 12:00:05, b 12:00:05', 'the time of the next token of each key without tokens is recorded once'
);
select is(
    pg_temp.look('{d}'), 'a 12:00:05, b 12:00:05', 'no time is recorded for a key without parked tasks'
);
select underway._take_tokens(underway_test.queue(), underway._clock(), 1, 'b');
select is(pg_temp.look('{b}'), 'a 12:00:05, b 12:00:10', 'a later time replaces the recorded one');
select is(pg_temp.look('{}'), 'a 12:00:05, b 12:00:10', 'nothing is recorded for no keys');

-- keys that are due

delete from underway.task where input = '"d1"';
select underway_test.advance_clock('4.999999 seconds');
select is(pg_temp.wake(), '', 'no task becomes ready before the recorded time of its key');
select underway_test.advance_clock('0.000001 seconds');
select is(pg_temp.wake(), 'a1 a2', 'one task more becomes ready than the key has tokens');
select results_eq(
    'select concurrency_key collate "default" from underway.ready_key', $$ values ('b') $$,
    'the recorded time of a key that was looked at is deleted'
);
select is(pg_temp.wake(), 'a1 a2', 'a key whose recorded time was deleted is not looked at again');
select underway_test.advance_clock('1 minute');
select is(pg_temp.wake(), 'a1 a2 b1 b2', 'a key with a full bucket gives as many tasks as it has tokens and one more');

-- a time that was recorded while the clock was fast

insert into underway.ready_key (queue, concurrency_key, check_at)
values ('email', 'c', underway._clock() + interval '10 seconds'), ('sms', 'a', underway._clock());
select is(pg_temp.wake(), 'a1 a2 b1 b2', 'a key whose recorded time is a rate_period ahead is not looked at');
update underway.ready_key set check_at = underway._clock() + interval '10.000001 seconds' where queue = 'email';
select is(pg_temp.wake(), 'a1 a2 b1 b2 c1', 'a key whose recorded time is more than a rate_period ahead is looked at');
select results_eq(
    'select queue collate "default" from underway.ready_key', $$ values ('sms') $$, 'the keys of other queues are not looked at'
);

-- a fair queue

select underway_test.no_tasks();
select underway.create_queue('email', fair => true);
select pg_temp.parked('a1 a2 a3');
insert into underway.ready_key (queue, concurrency_key, check_at) values ('email', 'a', underway._clock());
select is(pg_temp.wake(), 'a1', 'in a fair queue one task of a key becomes ready, however many tokens it has');
select is_empty('select from underway.ready_key where queue = ''email''', 'the recorded time of a key of a fair queue is deleted');

select * from finish();
rollback;
