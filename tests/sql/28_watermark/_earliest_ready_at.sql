begin;
select plan(16);

create function pg_temp.observed(at timestamptz, priority integer default 0) returns void language sql as $$
    delete from underway.watermark w where w.queue = 'email' and w.priority = observed.priority;
    insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
    values ('email', observed.priority, observed.at, observed.at, '{2/9}');
$$;

create function pg_temp.earliest(priority integer default 0) returns text language sql as $$
    select to_char(underway._earliest_ready_at('email', earliest.priority) at time zone 'UTC', 'DD HH24:MI:SS.US')
$$;

select underway_test.stop_clock('2030-01-02 12:00:00+00');

select is(pg_temp.earliest(), '02 12:00:00.000000', 'without a watermark a task is ready now');
select pg_temp.observed('2030-01-02 11:59:59.999999+00');
select is(pg_temp.earliest(), '02 12:00:00.000000', 'a watermark in the past leaves a task ready now');

-- a clock that was put back by a little

select pg_temp.observed('2030-01-02 12:00:00.3+00');
select is(pg_temp.earliest(), '02 12:00:00.300000', 'a task is not ready before the last time that a claim has observed');
select pg_temp.observed('2030-01-02 12:00:01+00');
select is(pg_temp.earliest(), '02 12:00:01.000000', 'a time that is one second ahead counts');
select is(
    (select w.observed_locks from underway._watermark('email', 0) w), '{2/9}', 'a time that is one second ahead stays recorded'
);

-- a clock that was a day fast

select pg_temp.observed('2030-01-03 12:00:00+00', 7);
select pg_temp.observed('2030-01-02 12:00:01.000001+00');
select is(pg_temp.earliest(), '02 12:00:00.000000', 'a time that is more than a second ahead is ignored');
select results_eq(
    $$ select w.ready_at, w.observed_at, w.observed_locks from underway._watermark('email', 0) w $$,
    $$ values ('-infinity'::timestamptz, '-infinity'::timestamptz, '{}'::text[]) $$,
    'a watermark that was observed more than a second ahead is reset'
);
select is(
    (select w.observed_at from underway._watermark('email', 7) w), '2030-01-03 12:00:00+00',
    'the watermarks of other priorities are not reset'
);

-- a day fast, then right again: tasks, retries and delays

delete from underway.watermark;
select underway_test.advance_clock('1 day');
select underway_test.ready_task('email', '"fast"');
select underway._advance_watermark('email', 0);
select is(underway_test.claimed(), 'fast', 'a task is claimed while the clock is a day fast');
select underway._advance_watermark('email', 0);
select underway_test.done('fast');
select underway_test.advance_clock('-1 day');
select underway_test.ready_task('email', '"now"');
select underway.enqueue('email', '"in an hour"', delay => '1 hour');
select is(underway_test.claimed(), 'now', 'a new task is claimed at once when the clock is right again');
select underway.fail(t.id, t.lease, '"x"', retry_after => '1 second') from underway.task t where t.state = 'in_progress';
select is(underway_test.claimed(), '', 'a retry in a second is not claimed at once when the clock is right again');
select underway_test.advance_clock('1 second');
select is(underway_test.claimed(), 'now', 'a retry in a second is claimed a second later when the clock is right again');
select underway_test.advance_clock('3598.999999 seconds');
select is(underway_test.claimed(), '', 'a task with a delay of an hour is not claimed a microsecond before it is due');
select underway_test.advance_clock('0.000001 seconds');
select is(underway_test.claimed(), 'in an hour', 'a task with a delay of an hour is claimed an hour later when the clock is right again');

-- a ready task from before the clock was fast

select underway_test.no_tasks();
select underway_test.ready_task('email', '"before"');
select underway_test.advance_clock('1 day');
select underway._advance_watermark('email', 0);
select underway_test.advance_clock('-1 day');
insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, underway._clock() + interval '1 day', underway._clock() + interval '1 day', '{}');
select is(underway.next_wakeup('{email}'), '0', 'a watermark from a clock that was fast hides no task from the workers');
select is(underway_test.claimed(), 'before', 'a watermark from a clock that was fast hides no task from a claim');

select * from finish();
rollback;
