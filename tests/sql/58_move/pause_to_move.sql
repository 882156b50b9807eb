begin;
select plan(6);

select underway.create_queue('email');
select ok(underway.pause_to_move('email', 'acme'), 'a key that was running is paused');
select ok(not underway.pause_to_move('email', 'acme'), 'a key that is paused stays paused');
select is(
    (select count(*) from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock' and pid = pg_backend_pid()),
    1::bigint, 'no claim from the queue is under way when a key is paused'
);
select underway_test.keyed_tasks('acme1 other1');
select is(underway_test.claimed(), 'other1', 'other keys go on');
select ok(underway.pause_to_move('email', null), 'without a key the queue is paused');
select throws_ok($$ select underway.pause_to_move('nowhere', null) $$, 'UW003', null, 'a queue that does not exist is refused');

select * from finish();
rollback;
