begin;
select plan(12);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue(queue) from unnest('{email, invoice}'::text[]) as queue;

create temporary table registered on commit drop as
select underway.register_worker('host-1', '{email, invoice}', 8) as id;

select results_eq(
    'select id, name, queues, concurrency from underway.worker',
    $$ select id, 'host-1', '{email, invoice}'::text[], 8 from registered $$,
    'the returned id identifies the worker, which has the given name, queues and concurrency'
);

select results_eq(
    'select started_at, seen_at, idle from underway.worker',
    $$ values ('2030-01-01 12:00:00+00'::timestamptz, '2030-01-01 12:00:00+00'::timestamptz, false) $$,
    'a new worker has the current time as started_at and seen_at, and is not idle'
);

select isnt(
    underway.register_worker('host-1', '{email}'), (select id from registered),
    'two workers may have the same name'
);

select is(
    (select concurrency from underway.worker where id <> (select id from registered)), null,
    'the concurrency may be omitted'
);

-- claims of the worker

select underway_test.ready_task('email');
select from underway.dequeue('email', 1, (select id from registered));

select is(
    (select i.worker from underway.task_list l cross join underway.task_info(l.id) i), 'host-1',
    'task_info shows the name of the worker that claimed the task'
);

select is(
    (select in_progress from underway.worker_stats where id = (select id from registered)), 1::bigint,
    'worker_stats counts the tasks that the worker holds'
);

-- errors

select throws_ok(
    format('select underway.register_worker(%L, %L)', given.name, '{email}'),
    'UW001', 'the worker has no name',
    format('a worker with the name %s is refused', coalesce(quote_literal(given.name), 'null'))
)
from (values (null), ('')) as given (name);

select throws_ok(
    $$ select underway.register_worker('host-2', '{email, nowhere}') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a queue that does not exist is refused, and the message names it'
);

select throws_ok(
    $$ select underway.register_worker('host-2', null) $$,
    'UW003', null,
    'a worker without queues is refused'
);

select throws_ok(
    $$ select underway.register_worker('host-2', array['email', null]) $$,
    'UW003', null,
    'a queue name that is null is refused'
);

select is_empty(
    $$ select from underway.worker where name = 'host-2' $$,
    'a refused worker is not registered'
);

select * from finish();
rollback;
