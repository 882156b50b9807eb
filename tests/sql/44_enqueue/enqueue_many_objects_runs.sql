-- neighbours with equal options are enqueued together, and nobody sees a difference

begin;
select plan(10);

select underway.create_queue('email');
select underway.create_queue('sms');

create function pg_temp.enqueued(tasks jsonb) returns text language plpgsql as $$
declare
    v_ids bigint[] := underway.enqueue_many(enqueued.tasks);
begin
    return (
        select string_agg(t.queue || ' ' || (t.input #>> '{}') || coalesce(' ' || t.unique_key, ''), ', ' order by given.place)
        from unnest(v_ids) with ordinality as given (id, place)
        join underway.task t on t.id = given.id
    );
end;
$$;

-- An array of tasks without options that differ.
create temporary table many as
select underway.enqueue_many((select jsonb_agg(jsonb_build_object('queue', 'email', 'input', n)) from generate_series(1, 300) n)) as ids;
select results_eq(
    'select t.input from underway.task t order by t.id', 'select to_jsonb(n) from generate_series(1, 300) n',
    'tasks with equal options are inserted in the order of the objects'
);
select is((select array_agg(t.id order by t.id) from underway.task t), ids, 'their ids are returned in that order') from many;
delete from underway.task;

select is(
    pg_temp.enqueued('[
        {"queue": "email", "input": 1}, {"queue": "sms", "input": 2}, {"queue": "email", "input": 3},
        {"queue": "email", "input": 4, "priority": 1}, {"input": 5, "queue": "email"}, {"queue": "email", "input": 6}
    ]'),
    'email 1, sms 2, email 3, email 4, email 5, email 6', 'ids of tasks with alternating options are returned in the order of the objects'
);
select results_eq(
    'select input from underway.task order by id', 'select to_jsonb(n) from generate_series(1, 6) n', 'tasks with alternating options are inserted in the order of the objects'
);
delete from underway.task;

select is(
    pg_temp.enqueued('[
        {"queue": "email", "input": 1, "unique_key": "b"}, {"queue": "email", "input": 2},
        {"queue": "email", "input": 3, "unique_key": "a"}, {"queue": "email", "input": 4, "unique_key": "b"},
        {"queue": "email", "input": 5, "unique_key": null}
    ]'),
    'email 1 b, email 2, email 3 a, email 1 b, email 5', 'tasks with and without unique keys may alternate'
);
select is(
    pg_temp.enqueued('[
        {"queue": "email", "input": 6, "unique_key": "c", "on_conflict": "replace"},
        {"queue": "email", "input": 7, "unique_key": "c", "on_conflict": "replace"}
    ]'),
    'email 7 c, email 7 c', 'of two objects that replace the same task the last counts'
);
select throws_ok(
    $$
        select underway.enqueue_many('[
            {"queue": "email", "unique_key": "d", "on_conflict": "error"},
            {"queue": "email", "unique_key": "d", "on_conflict": "error"}
        ]'::jsonb)
    $$,
    'UW010', null, 'two objects with the same key and on_conflict => ''error'' are refused'
);
select throws_ok(
    $$
        select underway.enqueue_many('[
            {"queue": "email", "unique_key": "e", "unique_for": "1 hour"}, {"queue": "email", "unique_for": "1 hour"}
        ]'::jsonb)
    $$,
    'UW001', null, 'unique_for in an object without a key is refused, whatever its neighbour has'
);
select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email"}, {"queue": "email", "timeout": "-1 s"}]'::jsonb) $$, 'UW001', null,
    'options that cannot be are refused'
);
select is(underway.enqueue_many('[]'::jsonb), '{}', 'no tasks are none');

select * from finish();
rollback;
