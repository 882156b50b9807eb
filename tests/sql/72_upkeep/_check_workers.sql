begin;
select plan(6);

select underway_test.stop_clock();
create temporary table worker on commit drop as select underway.register_worker('host-1', '{}'::text[] || 'email'::text) as id
from underway.create_queue('email');

select is(underway._check_workers(), 0, 'a live worker is not forgotten');
select is_empty('select from underway.event', 'a live worker is no event');

select underway_test.advance_clock('61 seconds');
select underway._check_workers() from generate_series(1, 2);
select results_eq(
    $$ select kind, details ->> 'name', (details ->> 'worker')::bigint, details -> 'queues' from underway.event $$,
    $$ select 'worker_lost', 'host-1', id, '["email"]'::jsonb from worker $$,
    'a worker that was not seen for a minute is one event'
);

select underway_test.advance_clock('1 second');
select underway.maintain(id) from worker;
select underway_test.advance_clock('61 seconds');
select underway._check_workers();
select is((select count(*) from underway.event), 2::bigint, 'a worker that came back can be lost again');

select underway_test.advance_clock('1 hour');
select is(underway._check_workers(), 1, 'after an hour it is forgotten');
select is((select count(*) from underway.event), 2::bigint, 'which is no other event');

select * from finish();
rollback;
