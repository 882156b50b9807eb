-- Tasks live as usual while a publication contains all tables.

begin;
select plan(7);

set local client_min_messages = error; -- the server may run with a wal_level below logical
create publication everything for all tables;

select underway_test.stop_clock('2030-01-01 12:00:00+00');

create temporary table task on commit drop as select underway_test.finished_task('cancelled') as id;

select lives_ok(format('select underway.retry(%s)', id), 'a task in the history can be retried') from task;
select is(underway_test.state_of(id), 'pending', 'the retried task is pending') from task;

select lives_ok(
    format('select underway.delete_task(%s)', underway_test.finished_task('succeeded')),
    'a task in the history can be deleted'
);

-- the partition that is pruned row by row

select underway.create_queue('kept', retention => '60 days');
create temporary table kept on commit drop as select underway_test.finished_task('succeeded', 'kept') as id;
select underway_test.advance_clock('61 days');
select lives_ok('select underway._prune()', 'expired tasks of the history can be pruned');
select is(underway_test.state_of(id), null, 'the expired task was pruned') from kept;

select lives_ok(
    $$ select underway.unregister_worker(underway.register_worker('host-1', '{email}')) $$,
    'a worker can be registered and removed'
);

insert into underway.batch_to_reevaluate (batch) values (1);
select lives_ok('select underway._reevaluate_batches()', 'a batch that two sessions settled at once can be reevaluated');

select * from finish();
rollback;
