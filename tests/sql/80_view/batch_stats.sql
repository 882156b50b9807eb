begin;
select plan(14);

select underway_test.stop_clock('2030-01-01 12:00:00Z');
set local time zone 'UTC';
select underway.create_queue('work');
select underway.create_queue('email');
create temporary table batch as
select underway.enqueue_batch(
    (select jsonb_agg(jsonb_build_object('queue', 'work', 'input', n)) from generate_series(1, 4) n),
    on_final => '{"queue": "email"}', name => 'nightly', retention => '1 hour'
) as id;
create temporary table held as select * from underway.dequeue('work', 3);
create temporary table hidden as select underway.enqueue('email', after => array[id]) as id from held limit 1;

create function pg_temp.shown() returns text language sql as $$
    select format(
        '%s: %s live, %s succeeded, %s failed, %s cancelled of %s; %s',
        s.state, s.live, s.succeeded, s.failed, s.cancelled, s.tasks, s.progress
    )
    from underway.batch_stats s, batch where s.batch = batch.id
$$;

select is((select count(*) from underway.batch_stats), 1::bigint, 'batches that were created for after are not shown');
select is((s.name, s.created_at)::text, '(nightly,"2030-01-01 12:00:00+00")', 'a batch shows its name and the time of its creation') from underway.batch_stats s;
select is(pg_temp.shown(), 'live: 4 live, 0 succeeded, 0 failed, 0 cancelled of 4; 0', 'all tasks of a new batch are live');
select is(
    (s.on_success, s.on_final, s.on_failure)::text, format('(,%s,)', t.id), 'a batch shows the ids of its callbacks'
)
from underway.batch_stats s, underway.task t where t.headers ->> 'batch' = s.batch::text;

select underway.complete(id, lease) from held where input = '1';
select is(pg_temp.shown(), 'live: 3 live, 1 succeeded, 0 failed, 0 cancelled of 4; 0.25', 'a completed task is counted as succeeded');
select underway_test.advance_clock('1 minute');
select underway.fail(id, lease, '"no"', retryable => false) from held where input = '2';
select is(pg_temp.shown(), 'live: 2 live, 1 succeeded, 1 failed, 0 cancelled of 4; 0.5', 'a failed task is counted as failed');
select underway_test.advance_clock('1 minute');
select underway.cancel(id) from held where input = '3';
select underway.complete(d.id, d.lease) from underway.dequeue('work') d;
select is(pg_temp.shown(), 'failed: 0 live, 2 succeeded, 1 failed, 1 cancelled of 4; 1', 'a batch whose tasks are final and not all succeeded is failed');
select is(
    (s.failed_at, s.final_at, s.succeeded_at, s.expires_at)::text,
    '("2030-01-01 12:01:00+00","2030-01-01 12:02:00+00",,"2030-01-01 13:02:00+00")',
    'a failed batch shows when it failed, became final and expires'
)
from underway.batch_stats s;

select underway.retry(id) from held where input in ('2', '3');
select is(pg_temp.shown(), 'failed: 2 live, 2 succeeded, 0 failed, 0 cancelled of 4; 0.5', 'retried tasks of a batch are live again');
select underway_test.advance_clock('1 minute');
select underway.complete(d.id, d.lease) from underway.dequeue('work', 2) d;
select is(pg_temp.shown(), 'succeeded: 0 live, 4 succeeded, 0 failed, 0 cancelled of 4; 1', 'a batch whose tasks have all succeeded in the end is succeeded');
select is((s.succeeded_at, s.expires_at)::text, '("2030-01-01 12:03:00+00","2030-01-01 13:03:00+00")', 'a succeeded batch shows when it succeeded and expires')
from underway.batch_stats s;

create temporary table empty as select underway.enqueue_batch('[]') as id;
select is((s.state, s.tasks, s.progress)::text, '(succeeded,0,1)', 'an empty batch is succeeded')
from underway.batch_stats s, empty where s.batch = empty.id;

create temporary table extended as select underway.enqueue_batch('[{"queue": "work"}]') as id;
select underway.extend_batch(id, '[{"queue": "work"}]') from extended;
select is((s.tasks, s.live)::text, '(2,2)', 'a task that is added to a batch is counted') from underway.batch_stats s, extended where s.batch = extended.id;

select underway_test.advance_clock('1 hour');
select underway._prune_batches();
select set_eq(
    'select batch from underway.batch_stats', 'select id from batch union all select id from empty union all select id from extended',
    'a batch is shown until it is pruned'
);

select * from finish();
rollback;
