begin;
select plan(12);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue(queue) from unnest('{email, invoice}'::text[]) as queue;

create temporary table registered on commit drop as
select underway.register_worker('host-1', '{email, invoice}', 8) as id;

select results_eq(
    'select id, name, queues, concurrency from underway.worker',
    $$ select id, 'host-1', '{email, invoice}'::text[], 8 from registered $$,
    'a worker is known by the id that is returned, with its name, its queues and its concurrency'
);

select results_eq(
    'select started_at, seen_at, idle from underway.worker',
    $$ values ('2030-01-01 12:00:00+00'::timestamptz, '2030-01-01 12:00:00+00'::timestamptz, false) $$,
    'a new worker has started now, is seen now, and is busy'
);

select isnt(
    underway.register_worker('host-1', '{email}'), (select id from registered),
    'two workers of one name are two workers'
);

select is(
    (select concurrency from underway.worker where id <> (select id from registered)), null,
    'the concurrency may be left out'
);

-- its id in use

select underway_test.ready_task('email');
select from underway.dequeue('email', 1, (select id from registered));

select is(
    (select i.worker from underway.task_list l cross join underway.task_info(l.id) i), 'host-1',
    'a task shows the name of the worker that claimed it'
);

select is(
    (select in_progress from underway.worker_stats where id = (select id from registered)), 1::bigint,
    'a worker shows what it holds'
);

-- refusals

select throws_ok(
    format('select underway.register_worker(%L, %L)', given.name, '{email}'),
    'UW001', 'the worker has no name',
    format('a worker is refused whose name is %s', coalesce(quote_literal(given.name), 'null'))
)
from (values (null), ('')) as given (name);

select throws_ok(
    $$ select underway.register_worker('host-2', '{email, nowhere}') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a queue that does not exist is refused by its name'
);

select throws_ok(
    $$ select underway.register_worker('host-2', null) $$,
    'UW003', null,
    'a worker without queues is refused'
);

select throws_ok(
    $$ select underway.register_worker('host-2', array['email', null]) $$,
    'UW003', null,
    'a queue without a name is refused'
);

select is_empty(
    $$ select from underway.worker where name = 'host-2' $$,
    'who is refused is not known'
);

select * from finish();
rollback;
