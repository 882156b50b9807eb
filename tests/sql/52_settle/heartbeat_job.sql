begin;
select plan(6);

select underway_test.stop_clock();
select underway.create_queue('email', heartbeat => '30 seconds', timeout => '10 minutes');
select underway.enqueue('email', job => 'send_mail');
create temporary table held on commit drop as select id, lease from underway.dequeue('email');

create function pg_temp.renewed() returns interval language sql as $$
    select underway.heartbeat(array[held.id], array[held.lease]) from held;
    select max(t.lease_expires_at) - underway._clock() from underway.task t
$$;

select is(pg_temp.renewed(), interval '30 seconds', 'a lease is renewed for the heartbeat of the queue');
select underway.register_job('send_mail', 'email', heartbeat => '2 minutes');
select is(pg_temp.renewed(), interval '2 minutes', 'once the job has a heartbeat, the lease is renewed for it');
update underway.task set heartbeat = '5 minutes';
select is(pg_temp.renewed(), interval '5 minutes', 'and that of the task comes first');

select underway.register_job('send_mail', 'email', timeout => '1 minute');
select underway_test.advance_clock('59 seconds');
select is((select count(*) from held, underway.heartbeat(array[id], array[lease])), 1::bigint, 'a task is held within the timeout of its job');
select underway_test.advance_clock('1 second');
select is((select count(*) from held, underway.heartbeat(array[id], array[lease])), 0::bigint, 'and not longer');
update underway.task set timeout = '2 minutes';
select is((select count(*) from held, underway.heartbeat(array[id], array[lease])), 1::bigint, 'the timeout of the task comes first');

select * from finish();
rollback;
