begin;
select plan(10);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('sms');

create temporary table worker on commit drop as
select given.name, underway.register_worker(given.name, given.queues) as id
from (values ('a', '{email}'::text[]), ('b', '{email,sms}'), ('c', '{sms}')) as given (name, queues);

create function pg_temp.asked()
returns text
language sql
as $$ select coalesce(string_agg(w.name, ' ' order by w.name), '') from underway.worker w where w.stop_asked_at is not null $$;

select is(underway.stop_workers(worker => (select id from worker where name = 'a')), 1, 'one worker can be asked to stop');
select is(pg_temp.asked(), 'a', 'the other workers are not asked');
select is(underway.stop_workers(queue => 'sms'), 2, 'the workers of a queue can be asked to stop');
select is(pg_temp.asked(), 'a b c', 'workers that also serve other queues are asked as well');
select is(underway.stop_workers(all_workers => true), 0, 'a worker that was asked before is not counted again');

select results_eq(
    $$ select distinct stop_asked_at from underway.worker $$, $$ values (timestamptz '2030-01-01 12:00:00+00') $$,
    'the time of the request is stored'
);

select underway.register_worker('d', '{email}');
select is(underway.stop_workers(all_workers => true), 1, 'all_workers asks the workers that are registered now');
select is(underway.stop_workers(worker => -1), 0, 'a worker id that does not exist is ignored');

select throws_ok(
    $$ select underway.stop_workers() $$, 'UW001', 'worker is null, queue is null, all_workers is false',
    'a call without a selection is refused'
);
select throws_ok(
    $$ select underway.stop_workers(worker => 1, queue => 'email') $$, 'UW001', $$worker is 1, queue is 'email', all_workers is false$$,
    'a call with two selections is refused'
);

select * from finish();
rollback;
