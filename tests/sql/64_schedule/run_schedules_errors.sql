-- a schedule that cannot be run

begin;
select plan(37);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue(queue) from unnest('{email, fax}'::text[]) as queue;
select underway.schedule('before', 'email', '* * * * *');
select underway.schedule('failing', 'fax', '* * * * *', catch_up => 'all');
select underway.schedule('after', 'email', '* * * * *');
select underway.drop_queue('fax', force => true);

create function pg_temp.failing()
returns underway.schedule_stats
language sql
as $$
    select s from underway.schedule_stats s where s.schedule = 'failing'
$$;

-- The type of the error a minute after one column of the failing schedule was changed.
create function pg_temp.error_of(what text, value text)
returns text
language plpgsql
as $$
begin
    perform underway.unschedule('failing');
    perform underway.schedule('failing', 'email', '* * * * *');
    execute format('update underway.schedule set %I = %L where name = %L', error_of.what, error_of.value, 'failing');
    perform underway_test.advance_clock('1 minute');
    perform underway.run_schedules();
    return (pg_temp.failing()).last_error ->> 'type';
end;
$$;

-- its error

select underway_test.stop_clock('2030-01-01 12:01:00+00');
select is(underway.run_schedules(), 2, 'a failing schedule does not stop the others and is not counted');
select is(underway_test.times_of('before'), '{12:01}', 'a failing schedule does not stop the schedule before it');
select is(underway_test.times_of('after'), '{12:01}', 'a failing schedule does not stop the schedule after it');

select is(
    (pg_temp.failing()).last_error,
    '{
        "type": "UW003", "message": "queue ''fax'' does not exist",
        "hint": "Create it first: select underway.create_queue(''fax'');"
    }',
    'a failing schedule records its error and the hint'
);
select is(
    (pg_temp.failing()).last_error_at, '2030-01-01 12:01:00+00',
    'a failing schedule records the time of its error'
);
select is((pg_temp.failing()).next_at, '2030-01-01 12:01:00+00', 'a failing schedule keeps the time that is due');
select is((pg_temp.failing()).last_at, null, 'a time that failed does not become the last time');
select is((pg_temp.failing()).last_task, null, 'a time that failed has no task');
select is((underway.stats() -> 'schedules_failing'), '1', 'stats() counts the failing schedules');

-- retries

select underway_test.advance_clock('9.999 seconds');
select underway.run_schedules();
select is(
    (pg_temp.failing()).last_error_at, '2030-01-01 12:01:00+00',
    'a failing schedule is not retried for ten seconds'
);
select underway_test.advance_clock('0.001 seconds');
select is(underway.run_schedules(), 0, 'a failing schedule is retried after ten seconds');
select is(
    (pg_temp.failing()).last_error_at, '2030-01-01 12:01:10+00',
    'a retry that fails updates the time of the error'
);
select is((pg_temp.failing()).next_at, '2030-01-01 12:01:00+00', 'a time stays due after a retry that fails');

-- the cause is fixed

select underway_test.stop_clock('2030-01-01 12:03:30+00');
select is(underway.run_schedules(), 4, 'other schedules continue');
select underway.create_queue('fax');
select underway_test.advance_clock('10 seconds');
select is(underway.run_schedules(), 3, 'after the cause is fixed, missed times are caught up');
select is(underway_test.times_of('failing'), '{12:01,12:02,12:03}', 'each missed time that catch_up allows comes once');
select results_eq(
    'select last_error, last_error_at, next_at, last_at from pg_temp.failing()',
    $$ values (
        null::jsonb, null::timestamptz, '2030-01-01 12:04:00+00'::timestamptz, '2030-01-01 12:03:00+00'::timestamptz
    ) $$,
    'a successful run clears the error and moves the next time'
);
select is((underway.stats() -> 'schedules_failing'), '0', 'stats() counts no failing schedule after the fix');

-- catch_up after a failure

select underway.schedule(missed, 'fax', '* * * * *', catch_up => missed) from unnest('{skip, once}'::text[]) as missed;
select underway.drop_queue('fax', force => true);
select count(*)
from generate_series('2030-01-01 12:04:00+00', '2030-01-01 12:10:00+00', interval '10 seconds') as at
cross join lateral underway_test.stop_clock(at)
cross join lateral (select underway.run_schedules() where at is not null) ran;
select underway.create_queue('fax');
select underway_test.stop_clock('2030-01-01 12:10:30+00');
select underway.run_schedules();
select is(underway_test.times_of('once'), '{12:09,12:10}', 'with once, the latest time of the failure is caught up');
select is(underway_test.times_of('skip'), '{12:10}', 'with skip, the times of the failure are skipped');
select is(
    underway_test.times_of('failing'), '{12:01,12:02,12:03,12:04,12:05,12:06,12:07,12:08,12:09,12:10}',
    'with all, each time of the failure comes once'
);

-- all due times or none

create function pg_temp.refuse() returns trigger language plpgsql as $$
begin
    raise exception 'not this one';
end;
$$;
create trigger refuse before insert on underway.task
for each row when (new.headers ->> 'scheduled_at' = '2030-01-01T12:13:00Z') execute function pg_temp.refuse();

select underway_test.stop_clock('2030-01-01 12:13:30+00');
select underway.run_schedules();
select is(
    (underway_test.times_of('failing'))[11:], '{}', 'if one of several due times fails, none of them gives a task'
);
select is(
    (pg_temp.failing()).last_error - 'hint', '{"type": "P0001", "message": "not this one"}',
    'an error that a trigger of a user raises is recorded'
);
drop trigger refuse on underway.task;

alter table underway.task add constraint refuse check (queue <> 'fax') not valid;
select underway_test.advance_clock('10 seconds');
select underway.run_schedules();
select is((pg_temp.failing()).last_error ->> 'type', '23514', 'an error of a constraint of a user is recorded');
alter table underway.task drop constraint refuse;
select underway_test.advance_clock('10 seconds');
select underway.run_schedules();
select is((underway_test.times_of('failing'))[11:], '{12:11,12:12,12:13}', 'later each of the due times comes once');

-- a change takes effect at the next call

select underway.drop_queue('fax', force => true);
select underway_test.advance_clock('1 minute');
select underway.run_schedules();
select isnt((pg_temp.failing()).last_error, null, 'a schedule fails');
select underway.schedule('failing', 'email', '* * * * *', catch_up => 'all');
select isnt(
    (pg_temp.failing()).last_error, null,
    'a failing schedule that is changed keeps its error until it succeeds'
);
select underway_test.advance_clock('1 second');
select underway.run_schedules();
select is(
    (underway_test.times_of('failing'))[14:], '{12:14}',
    'a failing schedule that is changed is retried by the next call'
);
select is((pg_temp.failing()).last_error, null, 'a success clears the error');

-- declaring the schedule again without a change

select underway.schedule('failing', 'email', '* * * * *', input => '"1234567890"');
select underway_test.stop_clock('2030-01-01 12:15:00+00');
update underway.setting set max_input_size = 10;
select underway.run_schedules();
select is((pg_temp.failing()).last_error ->> 'type', 'UW007', 'an input over a limit that was lowered is an error');
update underway.setting set max_input_size = 1048576;
select underway.schedule('failing', 'email', '* * * * *', input => '"1234567890"');
select underway_test.advance_clock('1 second');
select underway.run_schedules();
select isnt(
    (pg_temp.failing()).last_error, null,
    'declaring a failing schedule again without a change does not retry it'
);
select underway_test.advance_clock('9 seconds');
select underway.run_schedules();
select is((pg_temp.failing()).last_error, null, 'a schedule succeeds after the limit is raised');

-- values that have become invalid

select results_eq(
    $$
        select given.what, pg_temp.error_of(given.what, given.value)
        from (values ('cron', 'x'), ('time_zone', 'Mars/Olympus')) as given (what, value)
    $$,
    $$ values ('cron', 'UW008'), ('time_zone', '22023') $$,
    'an expression or a zone that the server no longer knows is an error'
);
select is(
    (
        underway_test.times_of('after'))[15:], '{12:16,12:17}',
        'an expression that has become invalid does not stop other schedules'
    
);

-- paused

select underway.schedule('failing', 'email', '0 * * * *');
select underway.drop_queue('email', force => true);
select underway_test.stop_clock('2030-01-01 13:00:00+00');
select underway.run_schedules();
select underway.pause_schedule('failing');
select underway_test.advance_clock('1 hour');
select underway.run_schedules();
select is((pg_temp.failing()).last_error_at, '2030-01-01 13:00:00+00', 'a paused schedule is not retried');
select underway.create_queue('email');
select underway.resume_schedule('failing');
select underway_test.advance_clock('1 hour');
select underway.run_schedules();
select is(
    (underway_test.times_of('failing'))[16:], '{15:00}',
    'a failing schedule that is resumed comes at its next time'
);
select is((pg_temp.failing()).last_error, null, 'a resumed schedule that succeeds has no error');

select * from finish();
rollback;
