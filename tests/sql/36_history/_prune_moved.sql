begin;
select plan(3);

select underway_test.stop_clock('2030-04-03');
insert into underway.moved_task (id, shard, moved_at, enqueued_at, queue)
values
    (1, 7, '2030-01-01', '2030-01-01', 'email'), (2, 7, '2030-01-02', '2030-01-01', 'email'),
    (3, 7, '2030-01-04', '2030-01-01', 'email');

select is(underway._prune_moved(1), 1, 'a call forgets at most so many tasks');
select is(underway._prune_moved(), 1, 'the next call forgets the rest');
select results_eq('select id from underway.moved_task', array[3::bigint], 'where a task has gone is known for ninety days');

select * from finish();
rollback;
