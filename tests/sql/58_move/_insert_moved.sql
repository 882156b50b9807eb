begin;
select plan(12);

-- As a move takes them.
create function pg_temp.taken(queue text)
returns jsonb
language sql
as $$
    select jsonb_agg(to_jsonb(g) order by g.id)
    from (select * from underway.task t where t.queue = taken.queue) g
$$;

select underway.create_queue('email', max_running_per_key => 2);
select underway.enqueue(
    'email', 'null', job => 'send', priority => -3, run_at => '2060-01-01', expires_at => '2061-01-01', timeout => '90 s',
    heartbeat => '20 s', retention => '2 days', headers => '{"trace": "x"}', unique_key => 'order 7', unique_until => 'start',
    concurrency_key => 'acme', retry_policy => underway.retry_policy(max_attempts => 2, factor => 1.1)
);
update underway.task set errors = '[{"message": "no"}]', attempt = 1, progress = '{"done": null}', watched = true;
create temporary table before on commit drop as select * from underway.task;
create temporary table moved on commit drop as select pg_temp.taken('email') as tasks;
delete from underway.task;
delete from underway.queue_priority;

select is(underway._insert_moved(tasks), '{}', 'no task is refused') from moved;
select results_eq('select * from underway.task', 'select * from before', 'a task has all its columns, with the input null');
select isnt_empty(
    $$ select from underway.queue_priority where queue = 'email' and priority = -3 $$, 'claims look at its priority'
);
select ok((select has_keys from underway.queue where name = 'email'), 'claims look at its concurrency key');

select is(underway._insert_moved(tasks), array(select id from before), 'a task that exists is refused') from moved;
update underway.task set id = id + 1000;
select is(underway._insert_moved(tasks), array(select id from before), 'so is one whose unique key another task has') from moved;
delete from underway.task;
select underway_test.finished_task('failed', 'email');
update underway.task_history set id = (select id from before);
select is(underway._insert_moved(tasks), array(select id from before), 'so is one that the history has') from moved;
delete from underway.task_history;

select underway._insert_moved(jsonb_set(tasks, '{0,reserved_until}', '"2070-01-01"')) from moved;
select results_eq(
    'select unique_key::text collate "default", task, expires_at from underway.unique_reservation',
    $$ select 'order 7'::text, id, '2070-01-01'::timestamptz from before $$, 'a unique key is reserved as long as before'
);
delete from underway.task;

-- The order of claims, and parked tasks.
select underway_test.keyed_tasks('a1 a2 a3 a4 b1');
update underway.task set parked = false, ready_at = ready_at - interval '1 hour' where input in ('"a4"', '"b1"');
update moved set tasks = pg_temp.taken('email');
delete from underway.task;
select underway._insert_moved(tasks) from moved;
select is(underway_test.ready(), 'a1 a4 b1', 'as many tasks of a key are ready as may run, those that were ready first');
select is(underway_test.claimed(), 'a4 b1 a1', 'tasks keep their places in the queue');
select underway_test.done('a4 a1');
select is(underway_test.claimed(), 'a2 a3', 'the others follow');

select throws_ok(
    $$ select underway._insert_moved('[{"id": 1, "queue": "nowhere", "priority": 0}]') $$, 'UW003', null,
    'a queue that does not exist is refused'
);

select * from finish();
rollback;
