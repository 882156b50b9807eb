begin;
select plan(10);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue(queue) from unnest('{email, invoice}'::text[]) as queue;

select is_empty('select * from underway.worker_stats', 'without workers the view is empty');

create temporary table worker on commit drop as
select underway.register_worker('host-1', '{email, invoice}', 8) as id;

create function pg_temp.stats()
returns underway.worker_stats
language sql
as $$
    select s from underway.worker_stats s cross join pg_temp.worker w where s.id = w.id
$$;

select results_eq(
    $$
        select name, queues, concurrency, idle, started_at, seen_at, lost, in_progress, oldest_started_at
        from pg_temp.stats()
    $$,
    $$ values (
        'host-1', '{email, invoice}'::text[], 8, false, '2030-01-01 12:00:00+00'::timestamptz,
        '2030-01-01 12:00:00+00'::timestamptz, false, 0::bigint, null::timestamptz
    ) $$,
    'a new worker shows its queues, its concurrency, and no running task'
);

select underway.set_idle(id, true) from worker;

select is((pg_temp.stats()).idle, true, 'an idle worker is shown as idle');

-- running tasks

select underway.enqueue('email') from generate_series(1, 3);
select underway.enqueue('invoice') from generate_series(1, 2);
create temporary table held on commit drop as
select claimed.id, claimed.lease from worker w cross join lateral underway.dequeue('email', 2, w.id) claimed;
select underway_test.advance_clock('10 seconds');
select from worker w cross join lateral underway.dequeue('invoice', 1, w.id);
select from underway.dequeue('invoice', 1);

select results_eq(
    'select in_progress, oldest_started_at from pg_temp.stats()',
    $$ values (3::bigint, '2030-01-01 12:00:00+00'::timestamptz) $$,
    'a worker shows the number of its running tasks in all queues and the start of the oldest'
);

select underway.complete(id, lease) from held;

select results_eq(
    'select in_progress, oldest_started_at from pg_temp.stats()',
    $$ values (1::bigint, '2030-01-01 12:00:10+00'::timestamptz) $$,
    'completed tasks are no longer counted'
);

select underway.snooze(t.id, t.lease, '1 hour')
from underway.task t
where t.worker = (select id from worker)
  and t.state = 'in_progress';

select is((pg_temp.stats()).in_progress, 0::bigint, 'snoozed tasks are no longer counted');

-- workers that are lost

select underway.register_worker('host-2', '{email}');
select underway_test.advance_clock('50 seconds');

select is((pg_temp.stats()).lost, false, 'a worker that was seen a minute ago is not lost');

select underway_test.advance_clock('1 second');

select is((pg_temp.stats()).lost, true, 'a worker that was not seen for more than a minute is lost');

select is(
    (select lost from underway.worker_stats where name = 'host-2'), false,
    'a worker that registered later is not lost'
);

select underway.maintain(id) from worker;

select is((pg_temp.stats()).lost, false, 'a lost worker that calls maintain is no longer lost');

select * from finish();
rollback;
