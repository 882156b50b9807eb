begin;
select plan(4);

select underway.create_queue('email');

create temporary table worker on commit drop as select underway.register_worker('a', '{email}') as id;

select is(underway.worker_state((select id from worker)), 'known', 'a worker that is registered is known');
select underway.stop_workers(all_workers => true);
select is(underway.worker_state((select id from worker)), 'stopping', 'a worker that was asked to stop is stopping');
select underway.unregister_worker((select id from worker));
select is(underway.worker_state((select id from worker)), 'unknown', 'a worker that was removed is unknown');
select is(underway.worker_state(null), 'unknown', 'a null id is unknown');

select * from finish();
rollback;
