-- the general form of enqueueing: a row for each input

begin;
select plan(6);

select underway_test.stop_clock();
select underway.create_queue('email');

create function pg_temp.enqueue(
    inputs jsonb[], unique_keys text[], options jsonb default '{}', ids bigint[] default null
)
returns setof underway.enqueued_task language sql as $$
    select *
    from underway._enqueue(
        'email', enqueue.inputs, enqueue.unique_keys, underway._read_options(enqueue.options), enqueue.ids
    )
$$;

select results_eq(
    $$ select * from pg_temp.enqueue('{1,2}', null, ids => '{1001,1002}') $$,
    $$ values (1001::bigint, true, false), (1002, true, false) $$,
    'without unique keys each input is a new task with its id'
);

select results_eq(
    $$ select * from pg_temp.enqueue('{3,4}', '{null,null}', ids => '{1003,1004}') $$,
    $$ values (1003::bigint, true, false), (1004, true, false) $$,
    'keys that are all null are no keys'
);

select results_eq(
    $$ select * from pg_temp.enqueue('{5,6,7,8}', '{b,a,b,null}', ids => '{1005,1006,1007,1008}') $$,
    $$ values (1005::bigint, true, false), (1006, true, false), (1005, false, false), (1008, true, false) $$,
    'inputs with the same key give one new task'
);

select results_eq(
    $$ select * from pg_temp.enqueue('{9,10}', '{c,b}', '{"on_conflict": "replace"}', '{1009,1010}') $$,
    $$ values (1009::bigint, true, false), (1005, false, true) $$,
    'the row of a replaced task says so'
);

create temp table made as
select id from pg_temp.enqueue('{11}', null, '{"priority": 5, "delay": "1 minute", "job": "send"}');

select results_eq(
    $$ select t.id, t.input, t.priority, t.ready_at, t.job from underway.task t join made on made.id = t.id $$,
    $$ select currval('underway.task_id_seq'), '11'::jsonb, 5, '2030-01-01 12:01:00+00'::timestamptz, 'send' $$,
    'the options are those of each task; ids that are not given are drawn'
);

select is_empty($$ select pg_temp.enqueue('{}', null) $$, 'no inputs give no rows');

select * from finish();
rollback;
