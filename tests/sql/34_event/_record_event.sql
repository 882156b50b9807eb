begin;
select plan(3);

select underway_test.stop_clock();
listen underway_event;
select underway._record_event('queue_blocked', 'email', 'send', 7, '{"reason": "no_worker"}');
select underway._record_event('worker_lost');

select results_eq(
    'select at, kind, queue, job, task, details from underway.event order by id limit 1',
    $$ values ('2030-01-01 12:00:00+00'::timestamptz, 'queue_blocked', 'email', 'send', 7::bigint, '{"reason": "no_worker"}'::jsonb) $$,
    'an event has its time, its kind, and what it is about'
);
select results_eq(
    'select kind, queue, details from underway.event order by id desc limit 1',
    $$ values ('worker_lost', null::text, '{}'::jsonb) $$, 'an event need not be about a queue'
);
select throws_ok('select underway._record_event(null)', '23502', null, 'an event has a kind');

select * from finish();
rollback;
