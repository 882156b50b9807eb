-- where it has changed: tests/py/test_job_races.py

begin isolation level repeatable read;
select plan(2);

select underway.create_queue('email');
select is(underway._lock_queue_as_seen('email'), true, 'a queue that this transaction sees unchanged is locked');
select is(underway._lock_queue_as_seen('nowhere'), false, 'a queue that does not exist is not locked');

select * from finish();
rollback;
