begin;
select plan(10);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

select is_empty('select * from underway.schedule_stats', 'without schedules the view is empty');

create function pg_temp.shown(name text)
returns jsonb
language sql
as $$
    select to_jsonb(s) from underway.schedule_stats s where s.schedule = shown.name
$$;

select underway.schedule(
    'full', 'email', '30 9 * * *[Europe/Berlin]', job => 'send_mail', catch_up => 'all', catch_up_limit => 5,
    overlap => 'skip', jitter => '10 minutes', starts_at => '2030-01-01 00:00:00+00',
    ends_at => '2030-03-01 00:00:00+00', owner => 'app'
);
select underway.schedule('bare', 'email', '* * * * *');

select is(
    pg_temp.shown('full'),
    jsonb_build_object(
        'schedule', 'full', 'queue', 'email', 'job', 'send_mail', 'cron', '30 9 * * *', 'time_zone', 'Europe/Berlin',
        'next_at', '2030-01-02 08:30:00+00'::timestamptz, 'last_at', null, 'last_task', null, 'last_error', null,
        'last_error_at', null, 'paused_at', null, 'starts_at', '2030-01-01 00:00:00+00'::timestamptz,
        'ends_at', '2030-03-01 00:00:00+00'::timestamptz, 'catch_up', 'all', 'catch_up_limit', 5, 'overlap', 'skip',
        'jitter', '00:10:00', 'owner', 'app', 'created_at', '2030-01-01 12:00:00+00'::timestamptz,
        'updated_at', '2030-01-01 12:00:00+00'::timestamptz
    ),
    'a schedule shows its settings and its next time'
);

select is(
    jsonb_strip_nulls(pg_temp.shown('bare')),
    jsonb_build_object(
        'schedule', 'bare', 'queue', 'email', 'cron', '* * * * *', 'time_zone', 'UTC',
        'next_at', '2030-01-01 12:01:00+00'::timestamptz, 'catch_up', 'once', 'catch_up_limit', 100, 'overlap', 'allow',
        'jitter', '00:00:00', 'created_at', '2030-01-01 12:00:00+00'::timestamptz,
        'updated_at', '2030-01-01 12:00:00+00'::timestamptz
    ),
    'settings that were not given are null or have their defaults'
);

-- runs, pauses and errors

select underway_test.advance_clock('1 minute');
select underway.run_schedules();
select is(
    pg_temp.shown('bare') -> 'last_task', (select to_jsonb(max(id)) from underway.task), 'a schedule shows its last task'
);
select is(
    (pg_temp.shown('bare') ->> 'last_at')::timestamptz, '2030-01-01 12:01:00+00', 'a schedule shows its last time'
);

select underway.pause_schedule('full');
select is(
    (pg_temp.shown('full') ->> 'paused_at')::timestamptz, '2030-01-01 12:01:00+00', 'a paused schedule shows the time of the pause'
);

select underway.drop_queue('email', force => true);
select underway_test.advance_clock('1 minute');
select underway.run_schedules();
select is(
    pg_temp.shown('bare') -> 'last_error' ->> 'message', 'queue ''email'' does not exist', 'a schedule shows its last error'
);
select is(
    (pg_temp.shown('bare') ->> 'last_error_at')::timestamptz, '2030-01-01 12:02:00+00', 'a schedule shows the time of its last error'
);

select underway.unschedule('bare');
select is(pg_temp.shown('bare'), null, 'a schedule that was removed is not shown');

-- bounds that clients cannot represent

select underway.create_queue('email');
select underway.schedule('always', 'email', '@daily', starts_at => '-infinity', ends_at => 'infinity');
select underway.schedule('far', 'email', '@daily', starts_at => '0044-03-15 00:00:00+00 BC', ends_at => '20000-01-01 00:00:00+00');
select is_empty(
    $$ select from underway.schedule_stats s where s.schedule in ('always', 'far') and num_nonnulls(s.starts_at, s.ends_at) > 0 $$,
    'a bound outside the years 1 to 9999 is shown as null'
);

select * from finish();
rollback;
