begin;
select plan(32);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue(queue) from unnest('{email, invoice}'::text[]) as queue;

select is(underway.run_schedules(), 0, 'without schedules no task is enqueued');

-- one time, one task

select underway.schedule('minutely', 'email', '* * * * *');
select is(underway.run_schedules(), 0, 'before its time a schedule enqueues nothing');
select underway_test.advance_clock('59.999999 seconds');
select is(underway.run_schedules(), 0, 'a microsecond before its time a schedule enqueues nothing');
select underway_test.advance_clock('0.000001 seconds');
select is(underway.run_schedules(), 1, 'at its time a schedule enqueues a task');
select is(underway.run_schedules(), 0, 'a second call enqueues nothing');
select underway_test.advance_clock('59 seconds');
select is(underway.run_schedules(), 0, 'before the next time nothing is enqueued');
select underway_test.advance_clock('1 second');
select is(underway.run_schedules(), 1, 'at its next time a schedule enqueues another task');

select is(underway_test.times_of('minutely'), '{12:01,12:02}', 'each time gives one task');

select results_eq(
    'select next_at, last_at, last_task, last_error from underway.schedule_stats',
    $$
        select '2030-01-01 12:03:00+00'::timestamptz, '2030-01-01 12:02:00+00'::timestamptz, max(id), null::jsonb
        from underway.task
    $$,
    'the schedule has its next time, its last time and its last task'
);

-- the task

select underway.schedule(
    'full', 'invoice', '30 9 * * *', 'Europe/Berlin', '{"to": "all"}', 'send_mail', 7, '1 hour',
    underway.retry_policy(max_attempts => 9, jitter => 0), '2 minutes', '20 seconds', '5 days', '{"trace": "1-2"}'
);
select underway_test.stop_clock('2030-01-02 08:30:20+00');
select underway.run_schedules();

select is(
    (select jsonb_strip_nulls(to_jsonb(t)) - 'id' from underway.task t where queue = 'invoice'),
    jsonb_build_object(
        'queue', 'invoice', 'job', 'send_mail', 'input', '{"to": "all"}'::jsonb, 'state', 'pending', 'priority', 7,
        'attempt', 0, 'retry_policy', underway.retry_policy(max_attempts => 9, jitter => 0), 'timeout', '00:02:00',
        'heartbeat', '00:00:20', 'retention', '5 days', 'ready_at', '2030-01-02 08:30:20+00'::timestamptz,
        'enqueued_at', '2030-01-02 08:30:20+00'::timestamptz, 'watched', false, 'in_batch', false,
        'parked', false, 'holds_slot', false,
        'expires_at', '2030-01-02 09:30:20+00'::timestamptz,
        'headers', '{"trace": "1-2", "schedule": "full", "scheduled_at": "2030-01-02T08:30:00Z"}'::jsonb
    ),
    'a task has all options of its schedule, is ready at once, and names the schedule and the time'
);

select is(
    (select id from underway.dequeue('invoice', 10)),
    (select last_task from underway.schedule_stats where schedule = 'full'),
    'the task of a schedule is claimed like any other task'
);

-- several schedules with common and different times

select underway.unschedule(schedule) from underway.schedule_stats;
select underway_test.stop_clock('2030-01-03 12:00:00+00');
select underway.schedule(format('every %s s', every), 'email', format('*/%s * * * * *', every))
from unnest('{10, 15, 20, 30}'::integer[]) as every;
select underway.schedule('hourly', 'email', '0 * * * *');
select underway_test.advance_clock('30 seconds');

select is(underway.run_schedules(), 7, 'the result counts each due time of each schedule');

select results_eq(
    $$
        select s.name, underway_test.times_of(s.name, 'SS')
        from (select schedule collate "default" as name from underway.schedule_stats) s
        order by s.name
    $$,
    $$ values
        ('every 10 s', '{10,20,30}'::text[]), ('every 15 s', '{15,30}'), ('every 20 s', '{20}'), ('every 30 s', '{30}'),
        ('hourly', '{}')
    $$,
    'each schedule comes at its own times'
);

-- a call is bounded, and the next one continues

select underway.schedule('s' || n, 'invoice', '0 * * * *') from generate_series(1, 1500) as n;
select underway_test.stop_clock('2030-01-03 13:00:00+00');
select underway.run_schedules() from generate_series(1, 5);
select is(
    (select count(distinct headers ->> 'schedule') from underway.task where queue = 'invoice' and state = 'pending'),
    1500::bigint, 'several calls run more schedules than one call may'
);
select is(
    (select count(*) from underway.task where queue = 'invoice' and state = 'pending'), 1500::bigint,
    'each of many schedules runs once'
);
select underway.unschedule(schedule) from underway.schedule_stats;

-- start and end

select underway_test.stop_clock('2030-01-05 12:00:00+00');
select underway.schedule(
    'bounded', 'email', '* * * * *', starts_at => '2030-01-05 12:10:00+00', ends_at => '2030-01-05 12:12:00+00'
);
select underway_test.advance_clock('9 minutes 59 seconds');
select is(underway.run_schedules(), 0, 'before its start a schedule enqueues nothing');
select underway_test.advance_clock('1 second');
select is(underway.run_schedules(), 1, 'at its start a schedule enqueues a task');
select underway_test.advance_clock('1 minute');
select underway.run_schedules();
select isnt((select next_at from underway.schedule_stats), null, 'before its end a schedule has a next time');
select underway_test.advance_clock('1 minute');
select is(underway.run_schedules(), 1, 'at its end a schedule enqueues its last task');
select is((select next_at from underway.schedule_stats), null, 'after its end a schedule has no next time');
select underway_test.advance_clock('1 day');
select is(underway.run_schedules(), 0, 'after its end a schedule enqueues nothing');
select is(underway_test.times_of('bounded'), '{12:10,12:11,12:12}', 'a schedule comes at its start and at its end');
select is(
    (select last_at from underway.schedule_stats), '2030-01-05 12:12:00+00',
    'a schedule that has ended keeps its last time'
);

-- clock changes

select underway_test.stop_clock('2030-03-30 12:00:00+00');
select underway.schedule('in the night', 'email', '30 2 * * *', 'Europe/Berlin');
select count(*)
from generate_series('2030-03-30 12:00:00+00', '2030-04-02 12:00:00+00', interval '30 minutes') as at
cross join lateral underway_test.stop_clock(at)
cross join lateral (select underway.run_schedules() where at is not null) ran;
select is(
    underway_test.times_of('in the night', 'DD HH24:MI'), '{31 01:00,01 00:30,02 00:30}',
    'a fixed time that the clocks skip comes once, at the end of the gap'
);

select underway.unschedule('in the night');
select underway_test.stop_clock('2030-10-26 12:00:00+00');
select underway.schedule('in the night', 'invoice', '30 2 * * *', 'Europe/Berlin');
select underway.schedule('half-hourly', 'email', '*/30 * * * *', 'Europe/Berlin');
delete from underway.task;
select count(*)
from generate_series('2030-10-26 12:00:00+00', '2030-10-27 12:00:00+00', interval '10 minutes') as at
cross join lateral underway_test.stop_clock(at)
cross join lateral (select underway.run_schedules() where at is not null) ran;
select is(
    underway_test.times_of('in the night', 'DD HH24:MI'), '{27 00:30}', 'a fixed time that the clocks repeat comes once'
);
select is(
    underway_test.times_of('half-hourly'),
    (
        select array_agg(to_char(at at time zone 'UTC', 'HH24:MI') order by at)
        from generate_series('2030-10-26 12:30:00+00', '2030-10-27 12:00:00+00', interval '30 minutes') as at
    ),
    'a repeating expression follows real time'
);
select underway.unschedule(schedule) from underway.schedule_stats;

-- the clock of the server is set back

select underway_test.stop_clock('2030-11-01 12:00:00+00');
select underway.schedule('minutely', 'email', '* * * * *', catch_up => 'all');
select underway_test.advance_clock('1 minute');
select underway.run_schedules();
select underway_test.advance_clock('-1 hour');
select is(underway.run_schedules(), 0, 'when the clock is set back, no time comes twice');
select underway_test.advance_clock('1 hour 1 minute');
select underway.run_schedules();
select is(underway_test.times_of('minutely'), '{12:01,12:02}', 'the next time comes when the clock reaches it again');

-- the session

select set_config('timezone', 'Pacific/Chatham', true), set_config('datestyle', 'SQL, DMY', true),
    set_config('intervalstyle', 'sql_standard', true);
select underway.schedule('odd', 'email', '0 0 * * *', 'Asia/Tokyo', jitter => '0');
select underway_test.stop_clock('2030-11-01 15:00:00+00');
select underway.run_schedules();
select is(
    (select headers ->> 'scheduled_at' from underway.task where headers ->> 'schedule' = 'odd'), '2030-11-01T15:00:00Z',
    'times and headers do not depend on the settings of the session'
);

-- the transaction of the caller

create function pg_temp.run_and_fail() returns void language plpgsql as $$
begin
    perform underway.run_schedules();
    raise exception 'the caller fails';
end;
$$;

select underway_test.advance_clock('1 day');
select throws_ok(
    'select pg_temp.run_and_fail()', 'P0001', 'the caller fails',
    'the transaction of the caller fails after it ran the due schedules'
);
select is(underway_test.times_of('odd', 'DD'), '{01}', 'after a rollback of the caller there is no task');
select underway.run_schedules();
select is(underway_test.times_of('odd', 'DD'), '{01,02}', 'a time whose task was rolled back is run by the next call');

select * from finish();
rollback;
