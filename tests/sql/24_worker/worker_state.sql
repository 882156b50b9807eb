begin;
select plan(4);

select underway.create_queue('email');

create temporary table worker on commit drop as select underway.register_worker('a', '{email}') as id;

select is(underway.worker_state((select id from worker)), 'known', 'a worker that is registered is known');
select underway.stop_workers(all_workers => true);
select is(underway.worker_state((select id from worker)), 'stopping', 'and learns that it was asked to stop');
select underway.unregister_worker((select id from worker));
select is(underway.worker_state((select id from worker)), 'unknown', 'or that it was forgotten');
select is(underway.worker_state(null), 'unknown', 'one without an id is not known');

select * from finish();
rollback;
