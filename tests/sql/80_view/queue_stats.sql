begin;
select plan(23);

select underway_test.stop_clock('2030-01-01 12:00:00+00');

select is_empty('select * from underway.queue_stats', 'no row is shown without queues');

select underway.create_queue('dead');
select underway.create_queue(
    'email', dead_letter_queue => 'dead', retry_policy => underway.retry_policy(max_attempts => 1),
    timeout => '1 minute', heartbeat => '20 seconds', retention => '2 days', keep_history => false
);

create function pg_temp.stats_of(queue text)
returns underway.queue_stats
language sql
as $$
    select s from underway.queue_stats s where s.queue = stats_of.queue
$$;

-- an empty queue

select results_eq(
    $$
        select dead_letter_queue, retry_policy, timeout, heartbeat, retention, keep_history, paused_at
        from pg_temp.stats_of('email')
    $$,
    $$ values (
        'dead' collate "C", underway.retry_policy(max_attempts => 1),
        '1 minute'::interval, '20 seconds'::interval, '2 days'::interval, false, null::timestamptz
    ) $$,
    'a queue shows its settings'
);

select results_eq(
    $$
        select ready, scheduled, in_progress, waiting, dead_letters, workers, oldest_ready_at
        from pg_temp.stats_of('email')
    $$,
    $$ values (0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, null::timestamptz) $$,
    'an empty queue shows zeros, and no oldest task'
);

-- a task in each state

create temporary table held on commit drop as select * from underway_test.held_task('email');
select underway_test.finished_task('succeeded', 'email');
select underway_test.finished_task('cancelled', 'email');
select underway_test.finished_task('failed', 'email') from generate_series(1, 2);

select underway.enqueue('email', delay => given.delay)
from unnest('{10 minutes, 20 minutes, 1 hour, 2 hours, 3 hours, 4 hours}'::interval[]) as given (delay);

create temporary table waiting on commit drop as select underway.enqueue('email') as id from generate_series(1, 3);
update underway.task set state = 'waiting' where id in (select id from waiting);
insert into underway.dependent (task, batch, event) select id, 0, 'success' from waiting;

select underway_test.advance_clock('20 minutes');

create temporary table counted on commit drop as select (pg_temp.stats_of('email')).*;

select is(ready, 2::bigint, 'tasks that are due are ready') from counted;
select is(scheduled, 4::bigint, 'tasks that are due later are scheduled') from counted;
select is(in_progress, 1::bigint, 'running tasks are in progress') from counted;
select is(waiting, 3::bigint, 'waiting tasks are waiting') from counted;
select is(dead_letters, 0::bigint, 'the dead letters of the tasks of a queue do not count in that queue') from counted;

select is(
    oldest_ready_at, '2030-01-01 12:10:00+00'::timestamptz,
    'the time since when the oldest ready task is ready is shown'
)
from counted;

select results_eq(
    $$ select ready, scheduled, in_progress, dead_letters from pg_temp.stats_of('dead') $$,
    $$ values (2::bigint, 0::bigint, 0::bigint, 2::bigint) $$,
    'a dead letter counts as a ready task and a dead letter of the queue that holds it'
);

select from underway.dequeue('dead', 1);

select results_eq(
    $$ select ready, in_progress, dead_letters from pg_temp.stats_of('dead') $$,
    $$ values (1::bigint, 1::bigint, 2::bigint) $$,
    'a running dead letter still counts as a dead letter'
);

-- a paused queue

select underway.pause_queue('email');

select is(
    (pg_temp.stats_of('email')).paused_at, '2030-01-01 12:20:00+00'::timestamptz,
    'a paused queue shows the time of its pause'
);

select is((pg_temp.stats_of('email')).ready, 2::bigint, 'a paused queue still shows its ready tasks');

-- workers

select underway.register_worker('host-1', '{email}');
select underway.register_worker('host-2', '{dead, email}');

select results_eq(
    'select queue, workers from underway.queue_stats order by queue',
    $$ values ('dead' collate "C", 1::bigint), ('email', 2) $$,
    'a queue shows how many workers serve it'
);

-- limits

select results_eq(
    $$
        select max_running, max_running_per_key, rate_limit, rate_period, max_length from pg_temp.stats_of('email')
    $$,
    $$ values (null::integer, 1, null::integer, '1 second'::interval, null::integer) $$,
    'a queue without limits shows only that tasks of a key run one at a time'
);

select underway.create_queue(
    'limited', max_running => 10, max_running_per_key => 2, rate_limit => 5, rate_period => '1 minute', max_length => 100
);

select results_eq(
    $$
        select max_running, max_running_per_key, rate_limit, rate_period, max_length from pg_temp.stats_of('limited')
    $$,
    $$ values (10, 2, 5, '1 minute'::interval, 100) $$,
    'a queue shows its limits'
);

-- keys

select underway.create_queue('keyed');
update underway.queue q set has_keys = true where q.name = 'keyed';
create temporary table keyed on commit drop as
select underway.enqueue('keyed', delay => given.delay) as id, given.key
from (
    values ('0'::interval, 'a'), ('0', 'a'), ('0', 'a'), ('0', 'b'), ('1 hour', 'a')
) as given (delay, key);
update underway.task t set concurrency_key = k.key from keyed k where t.id = k.id;

select underway.pause_key('keyed', key) from unnest('{c, b}'::text[]) as key;
select underway.pause_key('limited', 'a');

select is(
    (pg_temp.stats_of('keyed')).paused_keys, '{b,c}'::text[],
    'a queue shows its own paused keys, in order'
);
select is((pg_temp.stats_of('email')).paused_keys, '{}'::text[], 'a queue without paused keys shows none');

create temporary table running on commit drop as select id, lease from underway.dequeue('keyed', 10);

select results_eq(
    'select id from running', 'select min(id) from keyed',
    'one task of the only free key is claimed'
);
select results_eq(
    $$ select parked, ready, scheduled, in_progress, oldest_ready_at from pg_temp.stats_of('keyed') $$,
    $$ values (3::bigint, 0::bigint, 1::bigint, 1::bigint, null::timestamptz) $$,
    'tasks whose key is full or paused are counted as parked and not as ready'
);
select is((pg_temp.stats_of('dead')).parked, 0::bigint, 'parked tasks of another queue do not count');

select underway.complete(id, lease) from running;
select from underway.dequeue('keyed', 10);

select results_eq(
    $$ select parked, ready, in_progress from pg_temp.stats_of('keyed') $$,
    $$ values (2::bigint, 0::bigint, 1::bigint) $$,
    'a parked task that was claimed is counted as in progress'
);

select underway.resume_key('keyed', 'b');

select is((pg_temp.stats_of('keyed')).paused_keys, '{c}'::text[], 'a resumed key is not shown');

select * from finish();
rollback;
