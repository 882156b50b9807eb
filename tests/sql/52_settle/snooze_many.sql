-- a batch of tasks is put back for later

begin;
select plan(11);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('sms');
select underway.enqueue_many('email', '{0,1,2}');
select underway.enqueue_many('sms', '{3,4,5}');

create temp table held as
select claimed.id, claimed.lease, claimed.input::integer as number
from underway.dequeue(array['email', 'sms'], 10) as claimed;

select results_eq(
    $$
        select snoozed.id, snoozed.ready_at
        from (
            select array_agg(id order by id desc) as ids, array_agg(lease order by id desc) as leases,
                array_agg(make_interval(secs => number) order by id desc) as delays
            from held
            where number in (1, 2, 3)
        ) batch,
        underway.snooze_many(batch.ids, batch.leases, batch.delays) snoozed
        order by snoozed.id
    $$,
    $$
        select id, '2030-01-01 12:00:00+00'::timestamptz + make_interval(secs => number)
        from held where number in (1, 2, 3) order by id
    $$,
    'each task becomes ready after its own delay, whatever the order of the batch'
);

select results_eq(
    $$ select t.input::integer, t.attempt, t.lease from underway.task t where t.state = 'pending' order by t.id $$,
    $$ select number, 0, null::uuid from generate_series(1, 3) as number $$,
    'snoozed tasks are pending, and their attempts do not count'
);

select results_eq(
    $$ select snoozed.ready_at <= underway._clock() from held, underway.snooze_many(array[id], array[lease], '{0}') snoozed where number = 0 $$,
    array[true], 'a task without a delay keeps its place'
);

-- partly lost

select underway.complete(id, lease) from held where number = 4;

select results_eq(
    $$
        select snoozed.id
        from (select array_agg(id) as ids, array_agg(lease) as leases from held where number in (1, 4, 5)) batch,
            underway.snooze_many(batch.ids, batch.leases, '{1 s,1 s,1 s}') snoozed
    $$,
    $$ select id from held where number = 5 $$,
    'tasks that are not held any more are left out'
);

-- nothing, and refusals

select is_empty($$ select underway.snooze_many('{}', '{}', '{}') $$, 'an empty batch snoozes nothing');
select is_empty($$ select underway.snooze_many(null, null, null) $$, 'a null batch snoozes nothing');

select throws_ok(
    $$ select underway.snooze_many('{1,2}', array[gen_random_uuid()], '{1 s,1 s}') $$, 'UW001', '2 tasks and 1 leases',
    'arrays of tasks and leases of different lengths are refused'
);

select throws_ok(
    $$ select underway.snooze_many('{1}', array[gen_random_uuid()], '{1 s,2 s}') $$, 'UW001', '1 tasks and 2 delays',
    'arrays of tasks and delays of different lengths are refused'
);

select throws_ok(
    $$ select underway.snooze_many('{1}', array[gen_random_uuid()], array[null::interval]) $$,
    'UW001', '1 tasks and 0 delays', 'a null delay is refused'
);

select throws_ok(
    $$ select underway.snooze_many('{1}', array[gen_random_uuid()], '{-1 s}') $$, 'UW001', null,
    'a negative delay is refused'
);

select throws_ok(
    $$ select underway.snooze_many('{1}', array[null::uuid], '{1 s}') $$, 'UW001', 'the lease of task 1 is null',
    'a null lease is refused'
);

select * from finish();
rollback;
