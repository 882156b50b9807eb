begin;
select plan(6);

select underway.create_queue('work', max_running_per_key => 1);

create temporary table made as
select underway.enqueue_batch(
    (select jsonb_agg(jsonb_build_object('queue', 'work', 'input', n)) from generate_series(1, 5) n)
) as batch;

create function pg_temp.found(before bigint default null, max_tasks integer default 50) returns text language sql as $$
    select string_agg(t.input::text, ' ' order by f.number)
    from made
    cross join lateral underway.batch_tasks(made.batch, found.before, found.max_tasks) with ordinality as f (task, number)
    cross join lateral underway.task_info(f.task) t
$$;

select is(pg_temp.found(), '5 4 3 2 1', 'the live tasks of a batch are listed, the newest first');
select is(pg_temp.found(max_tasks => 2), '5 4', 'at most max_tasks are listed');
select is(
    pg_temp.found((select min(t.id) + 2 from underway.task t), 2), '2 1', 'the list goes on before the last task of a page'
);

select underway.complete(d.id, d.lease) from underway.dequeue('work', 1) d;
select underway.fail(d.id, d.lease, '"no"', retryable => false) from underway.dequeue('work', 1) d;
select is(pg_temp.found(), '5 4 3 2', 'a task that has succeeded is not listed, one that has failed is');
select is(pg_temp.found(max_tasks => 3), '5 4 3', 'live and failed tasks are listed in one order');

select is_empty('select underway.batch_tasks(4711)', 'a batch that does not exist has no tasks');

select * from finish();
rollback;
