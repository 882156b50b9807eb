begin;
select plan(7);

create function pg_temp.codes(name text) returns text language sql as $$
    select string_agg(w.code, ' ') from underway.why(underway_test.named(codes.name)) w
$$;

select underway_test.stop_clock();
select underway.create_queue('email', fair => true);
select underway.register_worker('w1', '{email}');
select underway_test.keyed_tasks('a1 a2 a3 1 2');

select is(pg_temp.codes('a1'), 'queued', 'the first task of a key of a fair queue is queued');
select results_eq(
    $$ select reason, details from underway.why(underway_test.named('2')) $$,
    $$ values (
        'ready: the concurrency keys of its queue are served in turn; live workers of queue ''email'': w1',
        '{"ahead": null, "workers": ["w1"]}'::jsonb
    ) $$,
    'a task without a key is queued, and the tasks ahead of it are not counted'
);
select underway_test.claimed();
select is(pg_temp.codes('a3'), 'key_full key_queued', 'the task after the next one of a full key is also key_queued');
select is(pg_temp.codes('a2'), 'key_full', 'the next task of a key with a running task is key_full');
select is(pg_temp.codes('a1'), 'running', 'the claimed task of the key is running');
select underway.pause_key('email', 'a');
select is(pg_temp.codes('a3'), 'key_paused key_full key_queued', 'a task of a paused key is also key_paused');
select underway_test.keyed_tasks('b1');
select is(pg_temp.codes('b1'), 'queued', 'a task of another key is queued');

select * from finish();
rollback;
