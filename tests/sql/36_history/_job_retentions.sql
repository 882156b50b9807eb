begin;
select plan(2);

select underway.create_queue('email');
select underway.register_job('plain', 'email');
select is(underway._job_retentions(), null, 'there are no retentions where no job has one');
select underway.register_job('kept', 'email', retention => '1 day');
select underway.register_job('long', 'email', retention => '40 days');
select is(underway._job_retentions(), '{"kept": "1 day", "long": "40 days"}', 'the retentions of jobs are found by their names');

select * from finish();
rollback;
