begin;
select plan(2);

select underway.create_queue('email');
select underway.register_job('send', 'email');

select is(underway._queue_of_job('send'), 'email', 'a registered job has a queue');
select is(underway._queue_of_job('other'), null, 'another job has none');

select * from finish();
rollback;
