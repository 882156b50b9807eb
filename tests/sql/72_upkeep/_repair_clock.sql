-- the clock was a day fast and is right again

begin;
select plan(18);

create function pg_temp.times(name text) returns text language sql as $$
    select format(
        'enqueued at %s, ready at %s', to_char(t.enqueued_at at time zone 'UTC', 'DD HH24:MI:SS'),
        to_char(t.ready_at at time zone 'UTC', 'DD HH24:MI:SS')
    )
    from underway.task t
    where t.input = to_jsonb(times.name)
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', heartbeat => '20 seconds');
select underway.register_worker('before', '{email}');
select underway.enqueue('email', '"later"', delay => '3 days');
select underway.enqueue('email', '"runs before"', priority => 1, heartbeat => '1 hour');
select is(underway_test.claimed(1), 'runs before', 'a task runs since before the clock was fast');

-- what happens while the clock is fast

select underway_test.advance_clock('1 day');
select underway.register_worker('fast', '{email}');
select underway.enqueue('email', '"runs"', priority => 1);
select underway.enqueue('email', '"runs with its own heartbeat"', priority => 1, heartbeat => '5 minutes');
select underway_test.claimed(2);
select underway.enqueue('email', '"failed"', priority => 1);
select underway_test.claimed(1);
select underway_test.advance_clock('2 minutes');
select underway.fail(t.id, t.lease, '"x"', retry_after => '10 seconds') from underway.task t where t.input = '"failed"';
select underway.enqueue('email', '"now"');
select underway.enqueue('email', '"in an hour"', delay => '1 hour');
select underway.enqueue_many('email', '{"\"a1\"","\"a2\""}', concurrency_key => 'a');

-- the clock is right again

select underway_test.stop_clock('2030-01-01 12:00:30+00');
select underway._repair_clock();

select is(
    pg_temp.times('now'), 'enqueued at 01 12:00:30, ready at 01 12:00:30', 'a task that was enqueued while the clock was fast is ready now'
);
select is(
    pg_temp.times('in an hour'), 'enqueued at 01 12:00:30, ready at 01 13:00:30',
    'a delayed task that was enqueued while the clock was fast keeps its delay'
);
select is(
    pg_temp.times('failed'), 'enqueued at 01 12:00:30, ready at 01 12:00:40',
    'a task that failed while the clock was fast keeps the delay of its retry'
);
select is(
    pg_temp.times('later'), 'enqueued at 01 12:00:00, ready at 04 12:00:00',
    'a delayed task that was enqueued before the clock was fast is not changed'
);
select is(
    pg_temp.times('a2'), 'enqueued at 01 12:00:30, ready at 01 12:00:30', 'a task that was parked while the clock was fast is due now'
);
select is(underway_test.parked(), 'a2', 'a parked task stays parked');
select is(
    (select w.seen_at from underway.worker w where w.name = 'fast'), '2030-01-01 12:00:30+00',
    'a worker that was seen while the clock was fast is seen now'
);
select is(
    (select w.seen_at from underway.worker w where w.name = 'before'), '2030-01-01 12:00:00+00',
    'a worker that was not seen while the clock was fast is not changed'
);
select results_eq(
    $$ select t.input #>> '{}', t.started_at, t.lease_expires_at from underway.task t where t.state = 'in_progress' order by t.id $$,
    $$
        values
            ('runs before', '2030-01-01 12:00:00+00'::timestamptz, '2030-01-01 13:00:00+00'::timestamptz),
            ('runs', '2030-01-01 12:00:30+00', '2030-01-01 12:00:50+00'),
            ('runs with its own heartbeat', '2030-01-01 12:00:30+00', '2030-01-01 12:05:30+00')
    $$,
    'leases that were taken while the clock was fast last one heartbeat from now, and others are not changed'
);

-- nothing is hidden from claims

select is(underway_test.claimed(), 'now a1', 'tasks that were enqueued while the clock was fast are claimed');
select underway_test.advance_clock('10 seconds');
select is(underway_test.claimed(), 'failed', 'a task that failed while the clock was fast is claimed after the delay of its retry');
select underway_test.done('a1');
select is(underway_test.claimed(), 'a2', 'a task that was parked while the clock was fast is claimed when its key is free');
select underway_test.advance_clock('59 minutes 49.999999 seconds');
select is(underway_test.claimed(), '', 'a delayed task is not claimed before it is due');
select underway_test.advance_clock('0.000001 seconds');
select is(underway_test.claimed(), 'in an hour', 'a delayed task is claimed an hour after the clock was right again');

-- the chores repair the clock by themselves

select underway_test.advance_clock('1 day');
select underway._run_chores();
select underway.enqueue('email', '"fast again"');
select underway_test.advance_clock('-1 day');
select is(underway_test.claimed(), '', 'a task that was enqueued while the clock was fast is not due when it is right again');
select underway._run_chores();
select is(underway_test.claimed(), 'fast again', 'the chores make a task ready that was enqueued while the clock was fast');
select is((select u.last_run_at from underway.upkeep u), underway._clock(), 'the chores record the time of the clock that is right again');

select * from finish();
rollback;
