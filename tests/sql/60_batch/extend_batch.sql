begin;
select plan(20);

select underway.create_queue('work');
select underway.create_queue('email');
create temporary table batch as
select underway.enqueue_batch('[{"queue": "work", "input": 1}]', '{"queue": "email"}', '{"queue": "email"}', '{"queue": "email"}') as id;

create function pg_temp.stats() returns text language sql as $$
    select format('%s of %s live, %s', s.live, s.tasks, underway_test.state_of(s.on_success))
    from underway.batch_stats s, batch where s.batch = batch.id
$$;

create temporary table added as
select underway.extend_batch(id, '[{"queue": "work", "input": 2}, {"queue": "work", "input": 3}]') as ids from batch;
select is(
    (select array_agg(t.input order by u.place) from added, unnest(ids) with ordinality as u (id, place) join underway.task t on t.id = u.id),
    '{2,3}'::jsonb[], 'the ids of the new tasks are returned in their order'
);
select is(pg_temp.stats(), '3 of 3 live, waiting', 'the new tasks belong to the batch');

-- tasks of unique keys, which may be of the batch already

select underway.extend_batch(id, '[{"queue": "work", "unique_key": "k"}, {"queue": "work", "unique_key": "k"}]') from batch;
select is(pg_temp.stats(), '4 of 4 live, waiting', 'a task counts once, though it is named twice');
select underway.extend_batch(id, '[{"queue": "work", "unique_key": "k"}]') from batch;
select is(pg_temp.stats(), '4 of 4 live, waiting', 'a task that is in the batch already counts once');
select is(underway.extend_batch(id, '[]'), '{}', 'an empty array adds nothing') from batch;

-- a task of it extends it before it ends

select underway.complete(d.id, d.lease) from underway.dequeue('work', 3) d;
create temporary table last as select d.* from underway.dequeue('work') d;
select underway.extend_batch(batch.id, '[{"queue": "work"}]') from batch;
select underway.complete(id, lease) from last;
select is(pg_temp.stats(), '1 of 5 live, waiting', 'a batch is not final before the tasks that its last task has added');
select underway.complete(d.id, d.lease) from underway.dequeue('work') d;
select is(pg_temp.stats(), '0 of 5 live, pending', 'a batch ends with the tasks that were added');

-- refusals

create temporary table before as select count(*) from underway.task;
select throws_like(
    $$ select underway.extend_batch(id, '[{"queue": "work"}]') from batch $$, 'all tasks of batch % are final since %',
    'a final batch is refused'
);
select throws_ok(
    $$ select underway.extend_batch(id, '[{"queue": "work"}]') from batch $$, 'UW013', null, 'a final batch is refused with its own error code'
);
create temporary table failed as select underway.enqueue_batch('[{"queue": "work"}]') as id;
select underway.cancel_batch(id) from failed;
select throws_ok(
    $$ select underway.extend_batch(id, '[{"queue": "work"}]') from failed $$, 'UW013', null, 'a final batch that has failed is refused'
);
select throws_ok(
    $$ select underway.extend_batch(987654321, '[]') $$, 'UW012', 'batch 987654321 does not exist', 'a batch that does not exist is refused'
);
create temporary table hidden as select underway.enqueue('email', after => array[underway.enqueue('work')]) as id;
select throws_ok(
    $$ select underway.extend_batch(f.batch, '[]') from underway.dependent f, hidden where f.task = hidden.id $$, 'UW012', null,
    'an implicit batch is refused'
);
create temporary table open as select underway.enqueue_batch('[{"queue": "work"}]') as id;
select throws_ok($$ select underway.extend_batch(id, '{}') from open $$, 'UW001', null, 'tasks that are not an array are refused');
select throws_ok($$ select underway.extend_batch(id, '[{"queue": "nowhere"}]') from open $$, 'UW003', null, 'a task for an unknown queue is refused');

-- circles

create temporary table made as
select underway.enqueue_batch('[{"queue": "work"}]', '{"queue": "email"}', null, '{"queue": "email"}') as id;
create temporary table circle as
select b.batch, b.on_success, b.on_failure from made join underway.batch_stats b on b.batch = made.id;
create temporary table between as select underway.enqueue('email', after => array[on_success]) as id from circle;
create function pg_temp.extend_after(task bigint) returns text language sql as $$
    select format(
        'select underway.extend_batch(%s, ''[{"queue": "work"}, {"queue": "work", "after": [%s]}]'')', batch, extend_after.task
    )
    from circle
$$;
select throws_like(
    pg_temp.extend_after(on_success), format('task %s waits for batch %s, and %%', on_success, batch),
    'a new task may not come after a waiting callback of its batch'
)
from circle;
select throws_ok(pg_temp.extend_after(on_failure), 'UW001', null, 'a new task may not come after a callback of any event') from circle;
select throws_like(
    pg_temp.extend_after(id), format('task %s waits for batch %s, and %%', on_success, batch), 'a new task may not come after a task that comes after a callback'
)
from between, circle;
select is((select s.tasks from underway.batch_stats s where s.batch = circle.batch), 1, 'a refused call adds no task')
from circle;
select lives_ok(pg_temp.extend_after((select underway.enqueue('work'))), 'a new task may come after a task outside the batch');
select underway.cancel(on_success), underway.retry(on_success) from circle;
select lives_ok(
    pg_temp.extend_after(on_success), 'a new task may come after a callback that was retried and so waits no longer'
)
from circle;

select * from finish();
rollback;
