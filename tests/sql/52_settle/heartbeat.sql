-- the holder is alive

begin;
select plan(22);

select underway_test.stop_clock();
select underway.create_queue('email', heartbeat => '30 seconds', timeout => '10 minutes');

create temp table held as select * from underway_test.held_task();
create temp table own as select * from underway_test.held_task();
update underway.task t set heartbeat = '90 seconds' where t.id = (select own.id from own);
create temp table neighbour as select * from underway_test.held_task();

create function pg_temp.lapses(task bigint) returns timestamptz language sql as $$
    select i.lease_expires_at from underway.task_info(lapses.task) i
$$;

select underway_test.advance_clock('10 seconds');

select set_eq(
    $$ select underway.heartbeat(array[held.id, own.id], array[held.lease, own.lease]) from held, own $$,
    $$ select held.id from held union select own.id from own $$,
    'the tasks that are still held are returned'
);

select is(
    pg_temp.lapses(held.id), '2030-01-01 12:00:40+00', 'a lease lasts another heartbeat of its queue from now'
)
from held;

select is(pg_temp.lapses(own.id), '2030-01-01 12:01:40+00', 'a lease lasts the heartbeat of the task where it has one') from own;

select is(pg_temp.lapses(neighbour.id), '2030-01-01 12:00:30+00', 'the leases of others do not') from neighbour;

select results_eq(
    $$ select t.state::text, t.attempt, t.started_at, t.lease from underway.task t join held on held.id = t.id $$,
    $$ select 'in_progress', 1, '2030-01-01 12:00:00+00'::timestamptz, held.lease from held $$,
    'nothing else changes'
);

select underway.create_queue('email', heartbeat => '1 minute');
select underway.heartbeat(array[held.id], array[held.lease]) from held;

select is(
    pg_temp.lapses(held.id), '2030-01-01 12:01:10+00', 'the heartbeat of the queue is looked up each time'
)
from held;

select underway.create_queue('email', heartbeat => '30 seconds');

-- partly lost

create temp table cancelled as select * from underway_test.held_task();
select underway.cancel(cancelled.id) from cancelled;
create temp table released as select * from underway_test.held_task('other');
select underway.release(released.id, released.lease) from released;

select results_eq(
    $$
        select underway.heartbeat(
            array[cancelled.id, held.id, released.id, neighbour.id, 987654321],
            array[cancelled.lease, held.lease, released.lease, held.lease, held.lease]
        )
        from held, cancelled, released, neighbour
    $$,
    $$ select held.id from held $$,
    'tasks that were cancelled, released, are held under another lease or do not exist are not returned'
);

select is(pg_temp.lapses(neighbour.id), '2030-01-01 12:00:30+00', 'a wrong lease renews nothing') from neighbour;

-- a lease that has lapsed

select underway_test.advance_clock('1 minute');

select results_eq(
    $$ select underway.heartbeat(array[neighbour.id], array[neighbour.lease]) from neighbour $$,
    $$ select neighbour.id from neighbour $$,
    'a lease that lapsed, but was not taken back, can be renewed'
);

select is(pg_temp.lapses(neighbour.id), '2030-01-01 12:01:40+00', 'a renewed lapsed lease lasts a full heartbeat') from neighbour;

select underway_test.advance_clock('1 hour');
select underway._reclaim(everything => true);

select is_empty(
    $$ select underway.heartbeat(array[neighbour.id], array[neighbour.lease]) from neighbour $$,
    'a lease that was taken back cannot be renewed'
);

-- longer than the timeout

create temp table long as select * from underway_test.held_task();
create temp table longer as select * from underway_test.held_task();
update underway.task t set timeout = '1 hour' where t.id = (select longer.id from longer);

select underway_test.advance_clock('9 minutes 59.999999 seconds');

select is(
    (select count(*) from long, longer, underway.heartbeat(array[long.id, longer.id], array[long.lease, longer.lease])), 2::bigint,
    'leases are renewed until the timeout'
);

create temp table before as select pg_temp.lapses(long.id) as at from long;

select underway_test.advance_clock('0.000001 seconds');

select results_eq(
    $$ select underway.heartbeat(array[long.id, longer.id], array[long.lease, longer.lease]) from long, longer $$,
    $$ select longer.id from longer $$,
    'a task that has run for its timeout is not renewed; one with a longer timeout of its own is'
);

select is(pg_temp.lapses(long.id), before.at, 'the lease of a task beyond its timeout is not extended') from long, before;

select underway_test.advance_clock('30 seconds');
select underway._reclaim(everything => true);

select is(underway_test.state_of(long.id), 'pending', 'a task beyond its timeout is reclaimed') from long;

-- edges

create temp table paused as select * from underway_test.held_task('paused');
select underway.pause_queue('paused');

select results_eq(
    $$ select underway.heartbeat(array[paused.id], array[paused.lease]) from paused $$,
    $$ select paused.id from paused $$,
    'a lease in a paused queue can be renewed'
);

select is_empty($$ select underway.heartbeat('{}', '{}') $$, 'an empty batch holds nothing');

select is_empty($$ select underway.heartbeat(null, null) $$, 'null arrays hold nothing');

select throws_ok(
    $$ select underway.heartbeat('{1,2}', array[gen_random_uuid()]) $$, 'UW001', '2 tasks and 1 leases',
    'tasks and leases that do not pair up are refused'
);

create temp table pending as select underway_test.ready_task() as id;

select throws_ok(
    $$ select underway.heartbeat(array[pending.id], array[null::uuid]) from pending $$,
    'UW001', format('the lease of task %s is null', pending.id), 'a null lease is refused'
)
from pending;

-- many

create temp table many as
select claimed.id, claimed.lease
from
    underway.create_queue('many') as created,
    underway.enqueue_many('many', array_fill('1'::jsonb, array[500])) as added,
    underway.dequeue('many', 500) as claimed;

select underway_test.advance_clock('10 seconds');

select is(
    (
        select count(*)
        from (select array_agg(many.id) as ids, array_agg(many.lease) as leases from many) as batch, underway.heartbeat(batch.ids, batch.leases)
    ),
    500::bigint, 'one call renews many leases'
);

select is_empty(
    $$
        select from underway.task t join many on many.id = t.id
        where t.lease_expires_at is distinct from underway._clock() + interval '30 seconds'
    $$,
    'one call renews each of many leases'
);

select * from finish();
rollback;
