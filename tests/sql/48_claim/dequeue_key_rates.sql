-- rate_limit_per_key: a rate for each concurrency key

begin;
select plan(24);

select underway_test.stop_clock();
select underway.create_queue('email', rate_limit_per_key => 2, rate_period => '1 minute', max_running_per_key => 10);

select underway_test.keyed_tasks('a1 a2 a3 a4 b1 1');
select is(underway_test.claimed(), 'a1 a2 b1 1', 'of each key as many tasks start as its bucket has tokens');
select is(underway_test.parked(), 'a3 a4', 'the other tasks of a key without tokens are parked');
select results_eq(
    'select concurrency_key collate "default", check_at from underway.ready_key',
    $$ values ('a', '2030-01-01 12:00:30+00'::timestamptz) $$,
    'the time of the next token is recorded for a key with parked tasks'
);
select is(underway_test.claimed(), '', 'no task of a key without tokens is claimed');
select is(underway.next_wakeup('{email}'), '1 second', 'workers sleep for a second while the next token is further away');
select underway_test.advance_clock('29.5 seconds');
select is(underway.next_wakeup('{email}'), '0.5 seconds', 'workers sleep until the next token of a key');
select is(underway_test.claimed(), '', 'no task of a key is claimed before its next token');
select underway_test.advance_clock('0.5 seconds');
select is(underway_test.claimed(), 'a3', 'one task of a key is claimed with its next token');
select underway_test.advance_clock('30 seconds');
select is(underway_test.claimed(), 'a4', 'the next task of the key is claimed with the token after that');
select is_empty(
    'select from underway.ready_key', 'no time is recorded for a key without parked tasks'
);

-- with max_running_per_key

select underway.create_queue('email', max_running_per_key => 1);
select underway_test.advance_clock('10 minutes');
select underway_test.keyed_tasks('a5 a6 a7');
select is(underway_test.claimed(), '', 'a key with tokens is not claimed from while max_running_per_key is reached');
select underway_test.done('a1 a2 a3 a4');
select is(underway_test.claimed(), 'a5', 'a key with a free slot and a token is claimed from');
select underway_test.done('a5');
select is(underway_test.claimed(), 'a6', 'the second token of a key starts its second task');
select underway_test.done('a6');
select is(underway_test.claimed(), '', 'a key with a free slot and no token is not claimed from');

-- more than one task of a key at once, which were enqueued in one statement

select underway_test.no_tasks();
select underway.create_queue('email', max_running_per_key => 3, rate_limit_per_key => 2);
select underway.enqueue_many(
    'email', array(select to_jsonb('a' || number) from generate_series(1, 6) number), concurrency_key => 'a'
);
select is(underway_test.ready(), 'a1 a2 a3', 'of one statement max_running_per_key tasks of a key start ready');
select is(underway_test.claimed(), 'a1 a2', 'the tokens of a key bound its claims below max_running_per_key');
select is(underway_test.parked(), 'a3 a4 a5 a6', 'the task without a token is parked');
select underway_test.advance_clock('30 seconds');
select is(underway_test.claimed(), 'a3', 'the token of a key fills its third slot');
select underway_test.advance_clock('30 seconds');
select is(underway_test.claimed(), '', 'a token starts no task while all slots of the key are taken');
select underway_test.done('a1 a2 a3');
select is(underway_test.claimed(), 'a4', 'freed slots of a key start as many tasks as it has tokens');

-- a clock that was wrong

select underway_test.no_tasks();
select underway_test.keyed_tasks('c1 c2 c3');
select underway_test.advance_clock('1 day');
select is(underway_test.claimed(), 'c1 c2', 'a key uses its tokens while the clock is a day fast');
select underway_test.advance_clock('-1 day');
select is(underway_test.claimed(), 'c3', 'a key whose tokens were recorded a day ahead is claimed from when the clock is right again');

-- a limit that is removed

select underway_test.done('c1 c2 c3');
select underway_test.keyed_tasks('d1 d2 d3');
select is(underway_test.claimed(), 'd1 d2', 'a new key has a full bucket');
select underway.create_queue('email', rate_limit_per_key => 0);
select is(underway_test.claimed(), 'd3', 'a parked task of a key without tokens is claimed after its rate limit is removed');

select * from finish();
rollback;
