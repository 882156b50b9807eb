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

select is(underway.stop_workers(worker => (select id from worker where name = 'a')), 1, 'one worker is asked');
select is(pg_temp.asked(), 'a', 'and no other');
select is(underway.stop_workers(queue => 'sms'), 2, 'or all that serve a queue');
select is(pg_temp.asked(), 'a b c', 'whatever else they serve');
select is(underway.stop_workers(all_workers => true), 0, 'who was asked already is not asked again');

select results_eq(
    $$ select distinct stop_asked_at from underway.worker $$, $$ values (timestamptz '2030-01-01 12:00:00+00') $$,
    'when they were asked is kept'
);

select underway.register_worker('d', '{email}');
select is(underway.stop_workers(all_workers => true), 1, 'everyone is who is there now');
select is(underway.stop_workers(worker => -1), 0, 'a worker that is not there is not asked');

select throws_ok(
    $$ select underway.stop_workers() $$, 'UW001', null, 'it has to be said who stops'
);
select throws_ok(
    $$ select underway.stop_workers(worker => 1, queue => 'email') $$, 'UW001', null, 'in one way'
);

select * from finish();
rollback;
