-- the number of a database among the shards of an application

begin;
select plan(2);

-- Transactions that were rolled back have taken ids.
alter sequence underway.task_id_seq restart;
alter sequence underway.batch_id_seq restart;
alter sequence underway.worker_id_seq restart;
alter sequence underway.event_id_seq restart;

select is(underway.shard(), 0, 'a database is shard 0 unless it was given another number');

select underway.set_shard(7);
select is(underway.shard(), 7, 'the number is the one that was given');

select * from finish();
rollback;
