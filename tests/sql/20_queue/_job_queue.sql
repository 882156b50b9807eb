begin;
select plan(10);

select underway.create_queue('email');
select underway.register_job('plain', 'email');
select underway.register_job('full', 'email', retention => '1 day', priority => 1);
select underway.register_job('keyed', 'email', concurrency_key => 'a');
select underway.register_job('brief', 'email', expires => '1 day');

select is(underway._job_queue('plain'), 'email', 'a job has a queue');
select is(underway._job_queue('unknown'), null, 'an unknown job has none');
select is(underway._job_queue(null), null, 'nor has no job');
select is(underway._job_has_defaults('plain'), false, 'a job may have no defaults for its tasks');
select is(underway._job_has_defaults('unknown'), false, 'an unknown job has none');
select ok(underway._job_has_defaults(name), name || ' has defaults') from unnest('{full,keyed,brief}'::text[]) as name;
select is(underway._job_retention('full'), interval '1 day', 'a job may have a retention');
select is(underway._job_retention('plain'), null, 'or none');

select * from finish();
rollback;
