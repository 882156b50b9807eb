-- new tasks of a fair queue stand in the line of their keys

begin;
select plan(20);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true);

-- what is due waits for the turn of its key from the beginning

select underway.enqueue_many('email', '{"\"a1\"","\"a2\""}', concurrency_key => 'a');
select is(underway_test.parked(), 'a1 a2', 'tasks that are due are parked at once');
select is(underway_test.line(), 'a', 'their key is marked ready once');
select underway.enqueue('email', '"1"');
select is(underway_test.line(), 'a -', 'a task without a key is parked too');
select is(
    (select array_agg(p.concurrency_key collate "default" order by p.task) from underway.parked p), '{a,a,""}',
    'a task without a key is parked under the empty key'
);
select results_eq(
    'select queue, priority, ready_at, task from underway.parked order by task',
    'select queue, priority, ready_at, id from underway.task order by id', 'a parked task keeps its priority and its place'
);
select is(underway_test.claimed(), 'a1 1', 'a claim takes them in the turn of their keys');
select underway_test.done('a1 1');
select is(underway_test.claimed(), 'a2', 'the next claim takes the tasks that had to wait');
select underway_test.done('a2');

-- objects

select underway.enqueue_many('[
    {"queue": "email", "input": "a3", "concurrency_key": "a"},
    {"queue": "email", "input": "b1", "concurrency_key": "b"},
    {"queue": "email", "input": "2"},
    {"queue": "email", "input": "a4", "concurrency_key": "a"}
]');
select is(underway_test.parked(), 'a3 b1 2 a4', 'each task of an array of objects is parked');
select is(underway_test.served(4), 'a3 b1 2 a4', 'parked tasks are claimed in the turn of their keys');

-- what is not due is parked when it is

select underway.enqueue('email', '"a5"', concurrency_key => 'a', delay => '1 minute');
select underway.enqueue('email', '"b2"', concurrency_key => 'b', run_at => '2030-01-01 12:01:00+00');
select is(underway_test.parked(), '', 'a delayed task is not parked');
select underway_test.claimed();
select is(underway_test.line(), '', 'the key of a delayed task is not marked ready');
select underway_test.advance_clock('1 minute');
select is(underway_test.claimed(), 'a5 b2', 'a delayed task is claimed when it is due');
select underway_test.done('a5 b2');

-- what comes after others

select underway.enqueue('email', '"c1"', concurrency_key => 'c');
select underway.enqueue('email', '"c2"', concurrency_key => 'c', after => array[underway_test.named('c1')]);
select underway.enqueue_batch(
    '[{"queue": "email", "input": "d1"}]', on_success => '{"queue": "email", "input": "d2", "concurrency_key": "d"}'
);
select is(underway_test.parked(), 'c1 d1', 'a task that waits for a dependency is not parked');
select is(underway_test.claimed(), 'c1 d1', 'a task that waits for a dependency is not claimed');
select underway_test.done('c1 d1');
select is(underway_test.claimed(), 'c2 d2', 'it is claimed when its dependency has ended');
select underway_test.done('c2 d2');

-- a key that runs

select underway_test.keyed_tasks('a6');
select underway_test.claimed();
select underway_test.keyed_tasks('a7');
select is(underway_test.claimed(), '', 'a task whose key is taken is not claimed');
select underway_test.done('a6');
select is(underway_test.claimed(), 'a7', 'a task is claimed when its key is free');

-- the length of the queue

select underway_test.no_tasks();
select underway.create_queue('email', max_length => 3);
select underway_test.keyed_tasks('a1 1');
select lives_ok($$ select underway.enqueue('email', concurrency_key => 'b') $$, 'a fair queue takes as many as its max_length');
select throws_ok(
    $$ select underway.enqueue('email') $$, 'UW011',
    $$queue 'email' is full: 3 tasks pending, 1 more would exceed max_length 3$$,
    'parked tasks count for max_length'
);
select underway_test.claimed(1);
select lives_ok($$ select underway.enqueue('email') $$, 'until one is claimed');

select * from finish();
rollback;
