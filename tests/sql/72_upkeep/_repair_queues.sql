-- tasks that were added by an enqueue which had read its queue before that was dropped

begin;
select plan(10);

-- late: a task of this name is added to a queue.
create function pg_temp.late(name text, queue text, priority integer default 0, parked boolean default false) returns void language sql as $$
    insert into underway.task (queue, priority, ready_at, enqueued_at, concurrency_key, parked, input)
    values (
        late.queue, late.priority, underway._clock(), underway._clock(), case when late.parked then 'a' end, late.parked,
        to_jsonb(late.name)
    )
$$;

create function pg_temp.live() returns text language sql as $$
    select coalesce(string_agg(t.input #>> '{}', ' ' order by t.id), '') from underway.task t
$$;

create function pg_temp.cancelled() returns text language sql as $$
    select coalesce(string_agg(h.input #>> '{}', ' ' order by h.id), '') from underway.task_history h where h.state = 'cancelled'
$$;

select underway_test.stop_clock();
select underway.create_queue(name) from unnest('{email,dropped,again}'::text[]) as name;
select underway_test.keyed_tasks('1 a1');
select underway.drop_queue('dropped');

-- the queue does not exist

select pg_temp.late('2', 'dropped'), pg_temp.late('3', 'dropped', -7), pg_temp.late('4', 'dropped');
select underway._repair_queues();
select is(pg_temp.cancelled(), '2 3 4', 'the pending tasks of a dropped queue are cancelled');
select is(pg_temp.live(), '1 a1', 'the tasks of other queues are not changed');

select pg_temp.late('a2', 'dropped'), pg_temp.late('a3', 'dropped', parked => true), pg_temp.late('a4', 'dropped', parked => true);
select underway._repair_queues();
select is(pg_temp.cancelled(), '2 3 4 a2 a3 a4', 'the parked tasks of a dropped queue are cancelled with the ready ones');

insert into underway.task (queue, priority, ready_at, enqueued_at, input)
select 'dropped', 0, underway._clock(), underway._clock(), '"many"' from generate_series(1, 1200);
select underway._repair_queues();
select is(
    (select count(*) from underway.task t where t.queue = 'dropped'), 200::bigint, 'one call cancels at most 1,000 tasks of a priority'
);
select underway._repair_queues();
select is((select count(*) from underway.task t where t.queue = 'dropped'), 0::bigint, 'the next call cancels the rest');

-- the queue was created again

select pg_temp.late('5', 'again', 7);
select underway.drop_queue('again', force => true);
select underway.create_queue('again');
select pg_temp.late('6', 'again', 7);
select is(underway_test.claimed(1, 'again'), '', 'a queue that was created again does not know the priority of a task of the old one');
select underway._repair_queues();
select is(underway_test.claimed(1, 'again'), '6', 'a priority that a queue does not know is recorded, and its tasks are claimed');
select is(
    (select count(*) from underway.queue_priority p where p.queue = 'again' and p.priority = 7), 1::bigint,
    'a priority is recorded once'
);

-- nothing to do

create temporary table before on commit drop as select p.queue, p.priority from underway.queue_priority p;
select underway._repair_queues();
select set_eq('select queue, priority from underway.queue_priority', 'select queue, priority from before', 'known priorities are not changed');
select is(pg_temp.live(), '1 a1 6', 'the tasks of queues that exist are not changed');

select * from finish();
rollback;
