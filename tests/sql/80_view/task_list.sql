begin;
select plan(12);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select is_empty('select * from underway.task_list', 'without tasks the view is empty');

select underway.create_queue('dead');
select underway.create_queue('email', dead_letter_queue => 'dead');

-- live tasks

create temporary table pending on commit drop as
select underway.enqueue('email', job => 'send_mail', delay => '1 hour', priority => 3) as id;

select results_eq(
    $$
        select id, queue, job, state::text, priority, attempt, enqueued_at, ready_at, started_at, finished_at, worker,
            dead_letter_of
        from underway.task_list
    $$,
    $$
        select id, 'email' collate "C", 'send_mail', 'pending', 3, 0, '2030-01-01 12:00:00+00'::timestamptz,
            '2030-01-01 13:00:00+00'::timestamptz, null::timestamptz, null::timestamptz, null::bigint, null::bigint
        from pending
    $$,
    'a pending task shows when it is ready'
);

select underway_test.advance_clock('1 hour');
create temporary table held on commit drop as select id, lease from underway.dequeue('email', 1, 7);

select results_eq(
    'select state::text, attempt, started_at, finished_at, worker from underway.task_list',
    $$ values ('in_progress', 1, '2030-01-01 13:00:00+00'::timestamptz, null::timestamptz, 7::bigint) $$,
    'a running task shows its attempt, its start and its worker'
);

-- finished tasks

select underway_test.advance_clock('1 minute');
select underway.complete(id, lease) from held;

select results_eq(
    $$
        select id, queue, job, state::text, priority, attempt, enqueued_at, ready_at, started_at, finished_at, worker,
            dead_letter_of
        from underway.task_list
    $$,
    $$
        select id, 'email' collate "C", 'send_mail', 'succeeded', 3, 1, '2030-01-01 12:00:00+00'::timestamptz,
            null::timestamptz, '2030-01-01 13:00:00+00'::timestamptz, '2030-01-01 13:01:00+00'::timestamptz,
            7::bigint, null::bigint
        from held
    $$,
    'a finished task shows its times and keeps its id'
);

-- dead letters

create temporary table failed on commit drop as select underway_test.finished_task('failed') as id;

select is(
    (select dead_letter_of from underway.task_list where queue = 'dead'), (select id from failed),
    'a dead letter shows the id of the failed task'
);

select underway.cancel(id) from underway.task_list where queue = 'dead';

select is(
    (select dead_letter_of from underway.task_list where queue = 'dead'), (select id from failed),
    'a finished dead letter shows the id of the failed task'
);

-- keys

create temporary table keyed on commit drop as select underway.enqueue('email', priority => 9) as id;
update underway.task set unique_key = 'order 7', concurrency_key = 'customer 3' where id in (select id from keyed);

select results_eq(
    'select l.unique_key, l.concurrency_key from underway.task_list l join keyed using (id)',
    $$ values ('order 7' collate "C", 'customer 3' collate "C") $$,
    'a live task shows its unique key and its concurrency key'
);

select underway.cancel(id) from keyed;

select results_eq(
    'select l.unique_key, l.concurrency_key from underway.task_list l join keyed using (id)',
    $$ values ('order 7' collate "C", 'customer 3' collate "C") $$,
    'a finished task shows its unique key and its concurrency key'
);

select is(
    (
        select array_agg(attname::text order by attnum)
        from pg_attribute
        where attrelid = 'underway.task_list'::regclass and attnum > 12
    ),
    '{unique_key,concurrency_key,expires_at,reason,error}'::text[],
    'new columns are the last ones, so that an older view can be replaced'
);

-- all states

select underway_test.finished_task('cancelled');
select underway_test.held_task('email');
select underway.enqueue('email');

select results_eq(
    'select state::text, count(*) from underway.task_list group by state order by 1',
    $$ values
        ('cancelled', 3::bigint), ('failed', 1), ('in_progress', 1), ('pending', 1), ('succeeded', 1)
    $$,
    'live and finished tasks are listed'
);

select is_empty(
    'select id from underway.task_list group by id having count(*) > 1',
    'no task is listed twice'
);

select is_empty(
    $$
        select attname
        from pg_attribute
        where attrelid = 'underway.task_list'::regclass and atttypid = 'jsonb'::regtype
    $$,
    'no input, output or other JSON is shown'
);

select * from finish();
rollback;
