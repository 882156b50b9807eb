-- a batch of tasks is given back

begin;
select plan(15);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.create_queue('sms');
select underway.enqueue_many('email', '{0,1,2,3}');
select underway.enqueue_many('sms', '{4,5,6,7,8,9}');

create temp table held as
select claimed.id, claimed.lease, claimed.input::integer as number from underway.dequeue(array['email', 'sms'], 10) as claimed;

select underway_test.advance_clock('5 seconds');

select set_eq(
    $$
        select underway.release_many(array_agg(held.id order by held.id desc), array_agg(held.lease order by held.id desc))
        from held
        where held.number in (2, 3, 4, 5)
    $$,
    $$ select held.id from held where held.number in (2, 3, 4, 5) $$,
    'the ids of the released tasks of all queues are returned'
);

select results_eq(
    $$
        select t.input::integer, t.state::text, t.attempt, t.ready_at, t.started_at, t.lease, t.lease_expires_at
        from underway.task t
        where t.state = 'pending'
        order by t.id
    $$,
    $$
        select number, 'pending', 0, '2030-01-01 12:00:00+00'::timestamptz, null::timestamptz, null::uuid, null::timestamptz
        from generate_series(2, 5) as number
    $$,
    'released tasks are pending at their old place, and their attempts do not count'
);

select is((select count(*) from underway.task t where t.state = 'in_progress'), 6::bigint, 'tasks that are not given keep running');

select set_eq(
    $$ select claimed.input::integer || ' in attempt ' || claimed.attempt from underway.dequeue(array['email', 'sms'], 10) as claimed $$,
    array['2 in attempt 1', '3 in attempt 1', '4 in attempt 1', '5 in attempt 1'],
    'released tasks are claimed again as the same attempt'
);

-- partly lost

select underway.complete(held.id, held.lease) from held where held.number = 6;
select underway.cancel(held.id) from held where held.number = 7;

select results_eq(
    $$
        select underway.release_many(array_agg(held.id order by held.id), array_agg(held.lease order by held.id))
        from held
        where held.number in (2, 6, 7, 8)
    $$,
    $$ select held.id from held where held.number = 8 $$,
    'tasks that were completed, cancelled or claimed by another holder are left out'
);

select results_eq(
    $$
        select held.number, underway_test.state_of(held.id)
        from held
        where held.number in (2, 6, 7, 8)
        order by held.number
    $$,
    $$ values (2, 'in_progress'), (6, 'succeeded'), (7, 'cancelled'), (8, 'pending') $$,
    'tasks that are left out are not changed'
);

-- named twice

select results_eq(
    $$
        select underway.release_many(array[held.id, held.id], array[held.lease, held.lease]) from held where held.number = 9
    $$,
    $$ select held.id from held where held.number = 9 $$,
    'a task that is given twice is released once'
);

select is(
    i.attempt, 0, 'the attempt of a task that is given twice is taken back once'
)
from held, underway.task_info(held.id) i where held.number = 9;

-- order

create temp table batch as
select claimed.id, claimed.lease
from underway.create_queue('ordered') as created, underway.enqueue_many('ordered', '{1,2,3,4,5}') as added, underway.dequeue('ordered', 5) as claimed;

select underway.release_many(array_agg(batch.id order by batch.id desc), array_agg(batch.lease)) from batch;

select results_eq(
    $$ select claimed.input::integer from underway.dequeue('ordered', 5) as claimed $$, array[1, 2, 3, 4, 5],
    'released tasks are claimed in the order of insertion'
);

-- nothing, and refusals

select is_empty($$ select underway.release_many('{}', '{}') $$, 'an empty batch releases nothing');

select is_empty($$ select underway.release_many(null, null) $$, 'a null batch releases nothing');

select throws_ok(
    $$ select underway.release_many('{1,2}', array[gen_random_uuid()]) $$, 'UW001', '2 tasks and 1 leases',
    'arrays of tasks and leases of different lengths are refused'
);

select throws_ok(
    $$ select underway.release_many(array[held.id], array[null::uuid]) from held where held.number = 0 $$,
    'UW001', format('the lease of task %s is null', held.id), 'a null lease is refused'
)
from held
where held.number = 0;

select throws_ok(
    $$
        select underway.release_many(array[a.id, b.id], array[a.lease, null])
        from held a, held b
        where a.number = 0 and b.number = 8
    $$,
    'UW001', null, 'the null lease of a pending task refuses the whole batch'
);

select is(
    underway_test.state_of(held.id), 'in_progress', 'a refused batch releases nothing'
)
from held where held.number = 0;

select * from finish();
rollback;
