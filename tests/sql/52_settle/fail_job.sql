-- the retry policy and the dead-letter queue of a job

begin;
select plan(12);

select underway_test.stop_clock();
select underway.create_queue('queue letters');
select underway.create_queue('job letters', dead_letter_queue => 'queue letters', retry_policy => underway.retry_policy(1));
select underway.create_queue('email', dead_letter_queue => 'queue letters', retry_policy => underway.retry_policy(3, '1 s', jitter => 0));

-- fail: the first attempt of a new task fails, after how many seconds is the next?
create function pg_temp.fail(queue text default 'email', policy underway.retry_policy default null) returns numeric language sql as $$
    select underway.enqueue(fail.queue, job => 'send_mail', retry_policy => fail.policy);
    select extract(epoch from underway.fail(c.id, c.lease, '"no"') - underway._clock()) from underway.dequeue(fail.queue) c;
$$;
create function pg_temp.letters() returns text language sql as $$
    select coalesce(string_agg(t.queue, ', ' order by t.id), '') from underway.task t where t.dead_letter is not null
$$;

select is(pg_temp.fail(), 1::numeric, 'without a job the policy of the queue applies');
select underway.register_job('send_mail', 'email', retry_policy => underway.retry_policy(3, '7 s', jitter => 0));
select is(pg_temp.fail(), 7::numeric, 'the policy of a job comes before that of the queue');
select is(pg_temp.fail(policy => underway.retry_policy(3, '9 s', jitter => 0)), 9::numeric, 'and that of a task before both');

-- a job that is changed while its task runs

select underway.enqueue('email', job => 'send_mail');
create temporary table held on commit drop as select * from underway.dequeue('email');
select is((select max_attempts from held), 3, 'a claim returns the attempts of the job');
select underway.register_job('send_mail', 'email', retry_policy => underway.retry_policy(1), dead_letter_queue => 'job letters');
select is(underway.fail(id, lease, '"no"'), null, 'a failure follows the job as it is then') from held;
select is(pg_temp.letters(), 'job letters', 'a dead letter goes to the dead-letter queue of the job');

-- a dead letter that fails

select underway.fail(c.id, c.lease, '"no"') from underway.dequeue('job letters') c;
select is(pg_temp.letters(), 'queue letters', 'a dead letter that fails goes where its queue says, not back to the same queue');
select underway.fail(c.id, c.lease, '"no"') from underway.dequeue('queue letters') c;
select is(pg_temp.letters(), '', 'and from the last dead-letter queue nowhere');

-- no dead-letter queue of the job

select underway.register_job('send_mail', 'email', retry_policy => underway.retry_policy(1));
select is(pg_temp.fail(), null, 'the task fails for good');
select is(pg_temp.letters(), 'queue letters', 'without one of the job the dead-letter queue of the queue applies');
select underway.register_job('send_mail', 'email', retry_policy => underway.retry_policy(1), dead_letter_queue => 'job letters');
select is(pg_temp.fail('job letters'), null, 'a task of the job fails in the dead-letter queue of the job');
select is(pg_temp.letters(), 'queue letters, queue letters', 'its dead letter does not stay there');

select * from finish();
rollback;
