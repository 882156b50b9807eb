begin;
select plan(5);

select underway.create_queue('email');
select underway.enqueue('email');

create temporary table first on commit drop as select * from underway._observe_positions();
select is(settled_task, 0::bigint, 'the first call only looks') from first;

select is(
    (select o.settled_task from underway._observe_positions() o), (select max(id) from underway.task),
    'the second call returns the last id of the first'
);

insert into underway.stat_position (observed_locks) values ('{}') on conflict (only_row) do update set observed_locks = array(
    select l.virtualtransaction from pg_locks l where l.pid = pg_backend_pid()
);
select is(
    (select o.settled_task from underway._observe_positions() o), (select max(id) from underway.task),
    'the transaction of the caller does not hold itself up'
);

delete from underway.stat_position;
select is((select o.settled_task from underway._observe_positions() o), null, 'a lost position is made anew');
select is((select count(*) from underway.stat_position), 1::bigint, 'there is a position again');

select * from finish();
rollback;
