-- a task whose job is registered: its queue, priority, concurrency key and expiry are those of the job

begin;
select plan(32);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('other');
select underway.register_job('plain', 'email');
select underway.register_job('urgent', 'email', priority => 7);
select underway.register_job('full', 'email', priority => 7, concurrency_key => 'smtp', expires => '1 hour');

-- the queue, priority, key and expiry of a new task; null is left out

create function pg_temp.task(id bigint) returns jsonb language sql as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'queue', t.queue, 'job', t.job, 'priority', t.priority, 'key', t.concurrency_key,
        'expires', to_char(t.expires_at at time zone 'UTC', 'HH24:MI')
    ))
    from underway.task t
    where t.id = task.id
$$;

select is(
    pg_temp.task(underway.enqueue(job => 'plain', input => '1')), '{"queue": "email", "job": "plain", "priority": 0}',
    'a task without a queue is in the queue of its job'
);
select is(
    pg_temp.task(underway.enqueue('other', job => 'plain')), '{"queue": "other", "job": "plain", "priority": 0}',
    'a queue that is given comes before that of the job'
);
select is(
    pg_temp.task(underway.enqueue(job => 'urgent')), '{"queue": "email", "job": "urgent", "priority": 7}',
    'a task has the priority of its job'
);
select is(
    pg_temp.task(underway.enqueue(job => 'urgent', priority => 0)), '{"queue": "email", "job": "urgent", "priority": 0}',
    'a priority that is given comes before that of the job'
);
select is(
    (select count(*) from underway.dequeue('email', 10) where job = 'urgent'), 2::bigint,
    'tasks with the priority of their job can be claimed'
);
select is(
    pg_temp.task(underway.enqueue('other', job => 'unknown')), '{"queue": "other", "job": "unknown", "priority": 0}',
    'a job need not be registered where the queue is given'
);
select throws_ok(
    $$ select underway.enqueue(job => 'unknown') $$, 'UW016', null, 'a job that is not registered has no queue'
);

-- every way of enqueueing

create temporary table expected on commit drop as
select '{"queue": "email", "job": "full", "priority": 7, "key": "smtp", "expires": "13:00"}'::jsonb as task;

select is(pg_temp.task(made.id), expected.task, format('%s follows the job', made.way))
from expected, (
    values
        ('enqueue', underway.enqueue(job => 'full')),
        ('enqueue with a unique key', underway.enqueue(job => 'full', unique_key => 'a')),
        ('enqueue with other options', underway.enqueue(job => 'full', headers => '{}', timeout => '1 s')),
        ('enqueue_many', (underway.enqueue_many(null, array['1', '2']::jsonb[], job => 'full'))[2]),
        ('enqueue_many of objects', (underway.enqueue_many('[{"job": "full"}]'::jsonb))[1]),
        ('enqueue_many of objects with null', (underway.enqueue_many('[{"job": "full", "queue": null, "priority": null}]'::jsonb))[1]),
        ('enqueue_many of objects with a key', (underway.enqueue_many('[{"job": "full", "unique_key": "b"}]'::jsonb))[1]),
        (
            'enqueue_unique',
            (select u.id from underway.enqueue_unique(null, array['1']::jsonb[], array['c'], job => 'full') u)
        ),
        (
            'enqueue_unique that replaces',
            (
                select u.id
                from underway.enqueue_unique(null, array['1']::jsonb[], array['c'], job => 'full', on_conflict => 'replace') u
            )
        )
) as made (way, id);

select is(pg_temp.task(m.task), expected.task, 'a task of a batch follows the job')
from expected, underway.batch_task m
where m.batch = underway.enqueue_batch('[{"job": "full"}]');

select underway.schedule('nightly', null, '0 * * * *', job => 'full');
select is(
    (select queue from underway.schedule_stats), 'email', 'a schedule without a queue shows that of its job'
);
select is(
    pg_temp.task(underway.run_schedule_now('nightly')), expected.task, 'the task of a schedule follows the job'
)
from expected;

create table pg_temp.orders (id integer);
create function pg_temp.on_order() returns trigger language plpgsql as $$
begin
    perform underway.enqueue(job => 'full', input => to_jsonb(new));
    return null;
end;
$$;
create trigger send after insert on pg_temp.orders for each row execute function pg_temp.on_order();
insert into pg_temp.orders values (77);
select is(
    (select pg_temp.task(t.id) from underway.task t where t.input = '{"id": 77}'), expected.task,
    'a task of a trigger follows the job'
)
from expected;

-- what the caller gives comes first

select is(pg_temp.task(made.id) ->> made.setting, made.value, made.description)
from (
    values
        (underway.enqueue(job => 'full', priority => -1), 'priority', '-1', 'the priority of the call'),
        (underway.enqueue(job => 'full', concurrency_key => 'k'), 'key', 'k', 'the key of the call'),
        (underway.enqueue(job => 'full', expires => '2 hours'), 'expires', '14:00', 'expires of the call'),
        (
            underway.enqueue(job => 'full', expires_at => '2030-01-01 12:30:00+00'), 'expires', '12:30',
            'expires_at of the call'
        ),
        (underway.enqueue(job => 'full', expires_at => 'infinity'), 'expires', null, 'never, which infinity stands for')
) as made (id, setting, value, description);

-- the job of later tasks

select underway.register_job('full', 'other');
select is(
    pg_temp.task(underway.enqueue(job => 'full')), '{"queue": "other", "job": "full", "priority": 0}',
    'a task follows the job as it is when it is enqueued'
);
select is(
    pg_temp.task(underway.run_schedule_now('nightly')), '{"queue": "other", "job": "full", "priority": 0}',
    'so does the task of a schedule'
);
select underway.unregister_job('full');
select throws_ok(
    $$ select underway.run_schedule_now('nightly') $$, 'UW016', null,
    'a schedule without a queue needs its job'
);
select lives_ok($$ select underway_test.advance_clock('2 hours') $$, 'time passes');
select underway.run_schedules();
select is(
    (select last_error ->> 'type' from underway.schedule_stats), 'UW016', 'the schedule shows that its job is missing'
);

-- when it expires

select is(pg_temp.task(made.id) ->> 'expires', made.expires, made.description)
from (
    values
        (underway.enqueue('email', expires => '1 hour'), '15:00', 'expires counts from the enqueue'),
        (underway.enqueue('email', expires => '1 hour', delay => '2 hours'), '17:00', 'or from when the task is due'),
        (
            underway.enqueue('email', expires_at => '2029-01-01 00:00:00+00'), '14:00',
            'an expires_at in the past means now'
        )
) as made (id, expires, description);

select * from finish();
rollback;
