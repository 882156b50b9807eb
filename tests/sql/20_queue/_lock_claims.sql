begin;
select plan(3);

select underway_test.ready_task('email');

select lives_ok($$ select underway._lock_claims('email') $$, 'the claim lock of a queue can be taken');

select is(
    (select count(*) from pg_locks l where l.locktype = 'advisory' and l.pid = pg_backend_pid() and l.mode = 'ExclusiveLock'),
    1::bigint, 'the lock is exclusive and held until the transaction ends'
);

select is(
    (select count(*) from underway.dequeue('email')), 1::bigint,
    'the transaction that holds the lock can claim from the queue itself'
);

select * from finish();
rollback;
