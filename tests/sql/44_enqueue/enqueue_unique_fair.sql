-- unique keys in a fair queue

begin;
select plan(10);

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
select is(underway_test.served(4), '1 a1 b1 a2', 'tasks with unique keys have the turn of their concurrency key');

-- replaced

select underway_test.keyed_tasks('c1');
select pg_temp.enqueue('a3', 'u1', 'a');
select underway_test.claimed();
select is(underway_test.parked(), '', 'when all are claimed, none waits');
select pg_temp.enqueue('a4', 'u2', 'a');
select is(underway_test.claimed(), '', 'the key is taken');
select is(underway_test.parked(), 'a4', 'and its next task parked');
select pg_temp.enqueue('d1', 'u2', 'd', 'replace');
select is(underway_test.parked(), '', 'one that is replaced waits no longer');
select is(underway_test.claimed(), 'd1', 'and has the turn of its new key');
select pg_temp.enqueue('a5', 'u5', 'a');
select underway_test.claimed();
select pg_temp.enqueue('2', 'u5', null, 'replace');
select is(underway_test.claimed(), '2', 'which may be none');

-- the old key is not held up by it

select underway_test.keyed_tasks('a6');
select underway_test.done('a3');
select is(underway_test.claimed(), 'a6', 'and the old key goes on without it');
select underway_test.done('a6 c1 d1 2');
select is(underway_test.claimed(), '', 'all are done');
select is((select count(*) from underway.parked), 0::bigint, 'and nobody waits');

select * from finish();
rollback;
