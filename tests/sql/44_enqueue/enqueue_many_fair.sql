-- new tasks of a fair queue

begin;
select plan(22);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true, max_running_per_key => 2);

-- of one statement one task of a key starts ready

select underway.enqueue_many('email', '{"\"a1\"","\"a2\"","\"a3\""}', concurrency_key => 'a');
select is(underway_test.ready(), 'a1', 'of the tasks of a key that are enqueued at once the first starts ready');
select is(underway_test.parked(), 'a2 a3', 'the other tasks of a key that are enqueued at once start parked');
select underway.enqueue_many('email', '{"\"1\"","\"2\""}');
select is(underway_test.ready(), 'a1 1 2', 'tasks without a key start ready');
select is(underway_test.claimed(), 'a1 1 2 a2', 'one claim takes as many tasks of a key as may run');
select underway_test.done('a1 a2 1 2');
select is(underway_test.claimed_later(), 'a3', 'the next claim takes the rest of the key');
select underway_test.done('a3');
select underway.create_queue('email', max_running_per_key => 1);

-- objects

select underway.enqueue_many('[
    {"queue": "email", "input": "a3", "concurrency_key": "a"},
    {"queue": "email", "input": "b1", "concurrency_key": "b"},
    {"queue": "email", "input": "2"},
    {"queue": "email", "input": "a4", "concurrency_key": "a"}
]');
select is(underway_test.served(4), 'a3 b1 2 a4', 'tasks of an array of objects are served in the turn of their keys');

-- delayed tasks

select underway.enqueue('email', '"a5"', concurrency_key => 'a', delay => '1 minute');
select underway.enqueue('email', '"b2"', concurrency_key => 'b', run_at => '2030-01-01 12:01:00+00');
select is(underway_test.parked(), '', 'a single delayed task is not parked');
select is(underway_test.claimed(), '', 'a delayed task is not claimed before it is due');
select underway_test.advance_clock('1 minute');
select is(underway_test.claimed(), 'b2 a5', 'delayed tasks that are due are claimed in the turn of their keys');
select underway_test.done('a5 b2');

select underway.enqueue_many('email', '{"\"a6\"","\"a7\""}', concurrency_key => 'a', delay => '1 minute');
select underway_test.keyed_tasks('a8');
select is(underway_test.served(2), 'a8 ', 'delayed tasks do not hold up a task of their key that is due');
select underway_test.advance_clock('1 minute');
select is(underway_test.served(2), 'a6 a7', 'delayed tasks that were enqueued at once are claimed one after another');

-- tasks that come after others

select underway.enqueue('email', '"c1"', concurrency_key => 'c');
select underway.enqueue('email', '"c2"', concurrency_key => 'c', after => array[underway_test.named('c1')]);
select underway.enqueue_batch(
    '[{"queue": "email", "input": "d1"}]', on_success => '{"queue": "email", "input": "d2", "concurrency_key": "d"}'
);
select is(underway_test.parked(), '', 'a task that waits for others is not parked');
select is(underway_test.claimed_later(), 'c1 d1', 'a task that waits for others is not claimed');
select underway_test.done('c1 d1');
select is(underway_test.claimed_later(), 'c2 d2', 'a task that has waited for others is claimed when they have ended');
select underway_test.done('c2 d2');

-- several tasks of a key that come after others

select underway_test.keyed_tasks('3');
select underway.enqueue_many(
    'email', '{"\"e1\"","\"e2\""}', concurrency_key => 'e', after => array[underway_test.named('3')]
);
select is(underway_test.served(3), '3 e1 e2', 'tasks of one key that have waited for others are claimed one after another');

-- a key that is full

select underway_test.keyed_tasks('a9');
select is(underway_test.claimed_later(), 'a9', 'a task of a free key is claimed');
select underway_test.keyed_tasks('a10');
select is(underway_test.claimed_later(), '', 'a new task of a full key is not claimed');
select underway_test.done('a9');
select is(underway_test.claimed_later(), 'a10', 'a new task of a full key is claimed when the key is free');

-- the length of the queue

select underway_test.no_tasks();
select underway.create_queue('email', max_length => 3);
select underway.enqueue_many('email', '{"\"a1\"","\"a2\""}', concurrency_key => 'a');
select lives_ok(
    $$ select underway.enqueue('email', concurrency_key => 'b') $$, 'a fair queue takes as many tasks as its max_length'
);
select throws_ok(
    $$ select underway.enqueue('email') $$, 'UW011', null, 'parked tasks of a fair queue count against its max_length'
);
select underway_test.claimed_later(1);
select lives_ok($$ select underway.enqueue('email') $$, 'a fair queue at its max_length takes a task after one was claimed');
select throws_ok($$ select underway.enqueue('email') $$, 'UW011', null, 'a fair queue is full again at its max_length');

select * from finish();
rollback;
