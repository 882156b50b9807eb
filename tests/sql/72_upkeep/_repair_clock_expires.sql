-- the clock was a day fast: tasks that expire, and leases of a job

begin;
select plan(5);

create function pg_temp.expires(name text) returns text language sql as $$
    select to_char(t.expires_at at time zone 'UTC', 'DD HH24:MI') from underway.task t where t.input = to_jsonb(expires.name)
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', heartbeat => '20 seconds');
select underway.register_job('send_mail', 'email', heartbeat => '3 minutes');
select underway.enqueue('email', '"before"', expires => '3 days');
select underway_test.advance_clock('1 day');
select underway.enqueue('email', '"runs"', job => 'send_mail', priority => 1, expires => '1 hour');
select is(underway_test.claimed(1), 'runs', 'a task runs');
select underway.enqueue('email', '"fast"', expires => '1 hour');
select underway.enqueue('email', '"delayed"', expires => '1 hour', delay => '1 hour');
select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway._repair_clock();

select is(pg_temp.expires('before'), '04 12:00', 'a task that was enqueued before expires as it was enqueued');
select is(pg_temp.expires('fast'), '01 13:00', 'a task that was enqueued meanwhile expires after what it was given');
select is(pg_temp.expires('delayed'), '01 14:00', 'so does a delayed one');
select is(
    (select lease_expires_at - underway._clock() from underway.task where state = 'in_progress'), interval '3 minutes',
    'a lease lasts for the heartbeat of the job'
);

select * from finish();
rollback;
