begin;
select plan(7);

select underway_test.stop_clock();
select underway.create_queue('email');
create temporary table held as
select n, h.id from generate_series(1, 3) n, underway_test.held_task(attempt => 2 + 0 * n) h;
select underway_test.advance_clock('5 seconds');

select set_eq(
    $$
        select r.id, r.state::text as state, r.ready_at
        from
            (select array_agg(id order by n desc) as ids from held) batch,
            underway._requeue(batch.ids, '{2030-01-01 12:01:05+00,null,null}', array['{"message": "three"}', null, '{"message": "one"}']::jsonb[]) r
    $$,
    $$
        select held.id, 'pending' as state, '2030-01-01 12:00:00+00'::timestamptz + case n when 3 then interval '65 seconds' else '0' end as ready_at
        from held
    $$,
    'a task is pending again at its new time, and without one at its old time'
);
select results_eq(
    'select t.attempt from underway.task t join held on held.id = t.id order by held.n', '{2,1,2}'::integer[],
    'an attempt counts when it has an error, and does not count without one'
);
select results_eq(
    $$ select t.errors #>> '{0,message}' from underway.task t join held on held.id = t.id order by held.n $$,
    '{one,null,three}'::text[], 'the error of the attempt is added to those of the task'
);
select is(
    (select count(*) from underway.task t join held on held.id = t.id where num_nonnulls(t.lease, t.lease_expires_at, t.started_at) > 0),
    0::bigint, 'nothing of the lease is left'
);
select is_empty('select * from underway._requeue(''{}'')', 'an empty array requeues nothing');

-- limits

select underway.create_queue('limited', max_running => 1);
create temporary table first_ as select * from underway_test.held_task('limited');
select underway.enqueue('limited');
select is((select count(*) from underway.dequeue('limited')), 0::bigint, 'a queue at its max_running gives no further task');
select count(*) from first_, underway._requeue(array[first_.id], array[underway._clock() + '1 hour']);
select is((select count(*) from underway.dequeue('limited')), 1::bigint, 'a requeued task has released its slot');

select * from finish();
rollback;
