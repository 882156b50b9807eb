begin;
select plan(4);

select underway.create_queue('email');
select underway.register_job('send_mail', 'email', timeout => '1 minute');
select underway.enqueue(job => 'send_mail');

select ok(underway.unregister_job('send_mail'), 'a registered job is unregistered');
select is_empty('select from underway.job', 'its settings are gone');
select is((select count(*) from underway.task), 1::bigint, 'its tasks stay');
select ok(not underway.unregister_job('send_mail'), 'a job that is not registered is reported');

select * from finish();
rollback;
