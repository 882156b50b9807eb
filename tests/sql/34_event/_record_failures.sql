begin;
select plan(7);

select underway_test.stop_clock();
select underway.create_queue('dead');
select underway.create_queue('email', dead_letter_queue => 'dead', retry_policy => underway.retry_policy(max_attempts => 2));
create temporary table held on commit drop as select * from underway_test.held_task('email');

select underway.fail(id, lease, jsonb_build_object('type', 'Refused', 'message', repeat('no', 1000), 'traceback', 'long')) from held;

select results_eq(
    'select at, kind, queue, job, task, details from underway.event',
    $$
        select
            '2030-01-01 12:00:00+00'::timestamptz, 'attempt_failed', 'email', 'send_mail', id,
            jsonb_build_object('attempt', 1, 'type', 'Refused', 'message', repeat('no', 100))
        from held
    $$,
    'a failed attempt is an event with the type and the beginning of the message of its error'
);

select underway_test.advance_clock('1 hour');
create temporary table again on commit drop as select * from underway.dequeue('email', 1);
select underway.fail(id, lease, '"gone"') from again;

select results_eq(
    $$ select task, details from underway.event where kind = 'task_failed' $$,
    $$
        select h.id, jsonb_build_object('attempt', 2, 'type', null, 'message', 'gone', 'dead_letter', t.id)
        from held h, underway.task t
        where t.queue = 'dead'
    $$,
    'a permanent failure is an event that names the dead letter'
);

select underway_test.finished_task('succeeded', 'email');
select underway_test.finished_task('cancelled', 'email');
select is((select count(*) from underway.event), 2::bigint, 'a success and a cancellation are no events');

-- in mass

select underway.create_queue('bulk', retry_policy => underway.retry_policy(max_attempts => 1));
select underway.enqueue_many('bulk', array_fill('1'::jsonb, array[2000]));
create temporary table bulk on commit drop as select * from underway.dequeue('bulk', 2000);
select is(
    (
        select count(*)
        from underway.fail_many(
            array(select id from bulk order by id), array(select lease from bulk order by id),
            array(select to_jsonb('error ' || id) from bulk order by id)
        )
    ),
    2000::bigint, 'many tasks can fail at once'
);
select is(
    (select count(distinct task) from underway.event where queue = 'bulk' and details ->> 'message' = 'error ' || task), 2000::bigint,
    'each of many failed tasks has its event'
);

-- tasks that fail for others

create temporary table first on commit drop as select * from underway_test.held_task('bulk');
create temporary table second on commit drop as select underway.enqueue('bulk', after => array(select id from first), after_failure => 'fail') as id;
select underway.fail(id, lease, '"no"') from first;
select is(
    (select e.details ->> 'type' from underway.event e join second s on s.id = e.task), 'DependencyFailed',
    'a task that fails because another one has failed is an event'
);
select lives_ok(
    $$ select underway._record_failures('{}', '{}', 'task_failed') $$, 'no failures can be recorded'
);

select * from finish();
rollback;
