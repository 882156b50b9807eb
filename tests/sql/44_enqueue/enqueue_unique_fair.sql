-- unique keys in a fair queue

begin;
select plan(11);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true);

create function pg_temp.enqueue(name text, unique_key text, key text, on_conflict text default 'return')
returns void language sql as $$
    select from underway.enqueue_unique(
        'email', array[to_jsonb(enqueue.name)], array[enqueue.unique_key], concurrency_key => enqueue.key,
        on_conflict => enqueue.on_conflict
    )
$$;

select pg_temp.enqueue('a1', 'u1', 'a');
select pg_temp.enqueue('a2', 'u2', 'a');
select pg_temp.enqueue('b1', 'u3', 'b');
select pg_temp.enqueue('1', 'u4', null);
select is(underway_test.served(4), 'a1 b1 1 a2', 'tasks with unique keys take the turn of their concurrency key');

-- replaced

select underway_test.keyed_tasks('c1');
select pg_temp.enqueue('a3', 'u1', 'a');
select is(underway_test.claimed_later(), 'c1 a3', 'a task with a unique key and one without are claimed');
select pg_temp.enqueue('a4', 'u2', 'a');
select is(underway_test.claimed_later(), '', 'a task with a unique key is not claimed while its concurrency key is full');
select is(underway_test.parked(), 'a4', 'a task with a unique key is parked while its concurrency key is full');
select pg_temp.enqueue('d1', 'u2', 'd', 'replace');
select is(underway_test.parked(), '', 'a parked task that is replaced is no longer parked');
select is(underway_test.claimed_later(), 'd1', 'a replaced task takes the turn of its new concurrency key');
select pg_temp.enqueue('a5', 'u5', 'a');
select is(underway_test.claimed_later(), '', 'another task of the full concurrency key is not claimed');
select pg_temp.enqueue('2', 'u5', null, 'replace');
select is(underway_test.claimed_later(), '2', 'a parked task that is replaced by one without a concurrency key is claimed');

-- the old key

select underway_test.keyed_tasks('a6');
select underway_test.done('a3');
select is(underway_test.claimed_later(), 'a6', 'the concurrency key that a replaced task had serves its next task');
select underway_test.done('a6 c1 d1 2');
select is(underway_test.claimed_later(), '', 'no task is left to claim');
select is_empty('select from underway.task', 'no task stays behind');

select * from finish();
rollback;
