begin;
select plan(6);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('short', max_length => 1);

create function pg_temp.enqueue(queue text, input jsonb, priority integer default null, headers jsonb default null)
returns bigint
language sql
as $$ select underway._enqueue_one(queue, input, 'send', priority, headers, null, null) $$;

create temporary table task on commit drop as select pg_temp.enqueue('email', '{"n": 1}', 0, '{"trace": "a"}') as id;

select results_eq(
    $$ select t.queue::text collate "default", t.job, t.input, t.priority, t.headers, t.ready_at, t.enqueued_at from underway.task t join task using (id) $$,
    $$ values ('email', 'send', '{"n": 1}'::jsonb, 0, '{"trace": "a"}'::jsonb, '2030-01-01 12:00:00+00'::timestamptz, '2030-01-01 12:00:00+00'::timestamptz) $$,
    'a plain task is ready at once, with its job and its headers'
);

select pg_temp.enqueue('email', '2', 7);

select is(
    (select t.priority from underway.task t where t.input = '2'), 7,
    'a priority that no task has had yet is recorded, and the task has it'
);
select ok(
    exists (select from underway.queue_priority p where p.queue = 'email' and p.priority = 7),
    'claims look at the new priority'
);

select pg_temp.enqueue('short', '3');

select throws_ok($$ select pg_temp.enqueue('short', '4') $$, 'UW011', null, 'a full queue takes no task');
select throws_ok($$ select pg_temp.enqueue('nowhere', '5') $$, 'UW003', null, 'an unknown queue is refused');
select throws_ok($$ select pg_temp.enqueue('email', null) $$, 'UW001', null, 'a null input is refused');

select * from finish();
rollback;
