begin;
select plan(8);

create function pg_temp.capacity(max_tasks integer default 10) returns integer language sql as $$
    select underway._claim_capacity('email', capacity.max_tasks, underway._clock())
$$;

create function pg_temp.limit_locks() returns bigint language sql as $$
    select count(*)
    from pg_locks l
    where l.locktype = 'advisory'
      and l.pid = pg_backend_pid()
      and l.mode = 'ExclusiveLock'
      and (l.classid::bigint << 32 | l.objid::bigint) = underway._limit_lock('email')
$$;

select underway_test.stop_clock();
select underway.create_queue('email', max_running => 3);

select is(pg_temp.limit_locks(), 0::bigint, 'the limit lock is not held before');
select is(pg_temp.capacity(), 3, 'a claim may take max_running tasks while none runs');
select is(pg_temp.limit_locks(), 1::bigint, 'the limit lock is held afterwards');
select is(pg_temp.capacity(2), 2, 'a claim may not take more tasks than it wants');

select underway_test.keyed_tasks('1 2');
select underway_test.claimed();
select is(pg_temp.capacity(), 1, 'running tasks count, also those of this transaction');
update underway.queue set max_running = 1 where name = 'email';
select is(pg_temp.capacity(), 0, 'a claim may take nothing while more tasks run than may');
update underway.queue set max_running = null where name = 'email';
select is(pg_temp.capacity(), 10, 'a queue whose limits are those of its keys has room for all');
select is(
    underway._claim_capacity('nowhere', 1, underway._clock()), null, 'a queue that does not exist has no capacity'
);

select * from finish();
rollback;
