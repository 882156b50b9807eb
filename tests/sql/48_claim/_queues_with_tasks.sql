begin;
select plan(11);

create function pg_temp.busy(queues text[], later interval default '0') returns text language sql as $$
    select coalesce(string_agg(name, ' ' order by name), '')
    from unnest(underway._queues_with_tasks(busy.queues, underway._clock() + busy.later)) as name
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('queue_' || to_char(number, 'FM000')) from generate_series(1, 200) number;

create function pg_temp.all_queues() returns text[] language sql as $$
    select array_agg(q.name order by random()) from underway.queue q
$$;

select is(pg_temp.busy(pg_temp.all_queues()), '', 'of empty queues none is returned');
select underway.enqueue(name) from unnest('{queue_001,queue_100,queue_200,queue_100}'::text[]) as name;
select is(
    pg_temp.busy(pg_temp.all_queues()), 'queue_001 queue_100 queue_200', 'of 200 queues those with a ready task are returned once'
);
select is(pg_temp.busy('{queue_100,queue_150}'), 'queue_100', 'only the given queues are returned');
select is(pg_temp.busy('{queue_200,nowhere}'), 'queue_200', 'a queue that does not exist is not returned');
select is(pg_temp.busy('{}'), '', 'of no queues none is returned');
select is(pg_temp.busy(null), '', 'of a null array none is returned');

select underway.enqueue('queue_150', delay => '1 hour');
select is(pg_temp.busy('{queue_150}'), 'queue_150', 'a queue with a delayed task is returned');

-- running, parked and finished tasks

delete from underway.task;
select underway_test.held_task('queue_002');
select underway_test.keyed_tasks('a1', 'queue_003');
update underway.task t set parked = true where t.queue = 'queue_003';
select underway_test.finished_task('succeeded', 'queue_004');
select is(
    pg_temp.busy(pg_temp.all_queues()), '', 'a queue with running, parked and finished tasks alone is not returned'
);

-- keys to look at

insert into underway.ready_key (queue, concurrency_key, check_at)
values ('queue_003', 'a', underway._clock() + interval '1 second'), ('queue_005', 'a', underway._clock());
select is(pg_temp.busy(pg_temp.all_queues()), 'queue_005', 'a queue with a key to look at now is returned');
select is(
    pg_temp.busy(pg_temp.all_queues(), '1 second'), 'queue_003 queue_005', 'a queue with a key to look at by the given time is returned'
);

-- a claim from all of them

select underway.enqueue(name, to_jsonb(name)) from unnest('{queue_198,queue_007}'::text[]) as name;
select is(
    (select string_agg(c.queue, ' ' order by c.queue) from underway.dequeue(pg_temp.all_queues(), 10) c), 'queue_007 queue_198',
    'a claim from 200 queues takes their ready tasks'
);

select * from finish();
rollback;
