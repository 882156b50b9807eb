-- a schedule that can not be run

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

-- The type of the error of the failing schedule a minute later, when one of its columns has another value meanwhile.
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
select is(underway.run_schedules(), 2, 'a failing schedule does not stop the others, and is not counted');
select is(underway_test.times_of('before'), '{12:01}', 'neither the one before it');
select is(underway_test.times_of('after'), '{12:01}', 'nor the one after it');

select is(
    (pg_temp.failing()).last_error,
    '{
        "type": "UW003", "message": "queue ''fax'' does not exist",
        "hint": "Create it first: select underway.create_queue(''fax'');"
    }',
    'a failing schedule records its error, and what to do'
);
select is((pg_temp.failing()).last_error_at, '2030-01-01 12:01:00+00', 'and when that was');
select is((pg_temp.failing()).next_at, '2030-01-01 12:01:00+00', 'it keeps the time that is due');
select is((pg_temp.failing()).last_at, null, 'a time that failed is no last time');
select is((pg_temp.failing()).last_task, null, 'and has no task');
select is((underway.stats() -> 'schedules_failing'), '1', 'the failing ones are counted');

-- it is tried again

select underway_test.advance_clock('9.999 seconds');
select underway.run_schedules();
select is((pg_temp.failing()).last_error_at, '2030-01-01 12:01:00+00', 'for ten seconds it is left alone');
select underway_test.advance_clock('0.001 seconds');
select is(underway.run_schedules(), 0, 'then it is tried again');
select is((pg_temp.failing()).last_error_at, '2030-01-01 12:01:10+00', 'and its last error is told');
select is((pg_temp.failing()).next_at, '2030-01-01 12:01:00+00', 'the time stays due');

-- mended

select underway_test.stop_clock('2030-01-01 12:03:30+00');
select is(underway.run_schedules(), 4, 'the others go on');
select underway.create_queue('fax');
select underway_test.advance_clock('10 seconds');
select is(underway.run_schedules(), 3, 'once mended, it makes up for what was due');
select is(underway_test.times_of('failing'), '{12:01,12:02,12:03}', 'for all that its policy says, each time once');
select results_eq(
    'select last_error, last_error_at, next_at, last_at from pg_temp.failing()',
    $$ values (
        null::jsonb, null::timestamptz, '2030-01-01 12:04:00+00'::timestamptz, '2030-01-01 12:03:00+00'::timestamptz
    ) $$,
    'its error is forgotten, and it goes on'
);
select is((underway.stats() -> 'schedules_failing'), '0', 'none is failing any more');

-- by its policy

select underway.schedule(missed, 'fax', '* * * * *', catch_up => missed) from unnest('{skip, once}'::text[]) as missed;
select underway.drop_queue('fax', force => true);
select count(*)
from generate_series('2030-01-01 12:04:00+00', '2030-01-01 12:10:00+00', interval '10 seconds') as at
cross join lateral underway_test.stop_clock(at)
cross join lateral (select underway.run_schedules() where at is not null) ran;
select underway.create_queue('fax');
select underway_test.stop_clock('2030-01-01 12:10:30+00');
select underway.run_schedules();
select is(underway_test.times_of('once'), '{12:09,12:10}', 'with once, it makes up for the latest time of its failure');
select is(underway_test.times_of('skip'), '{12:10}', 'with skip, it leaves out what it missed');
select is(
    underway_test.times_of('failing'), '{12:01,12:02,12:03,12:04,12:05,12:06,12:07,12:08,12:09,12:10}',
    'with all, it misses nothing, and doubles nothing'
);

-- each time or none

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
    (underway_test.times_of('failing'))[11:], '{}', 'of a schedule that fails at one of its times, none has come'
);
select is(
    (pg_temp.failing()).last_error - 'hint', '{"type": "P0001", "message": "not this one"}',
    'what somebody else raises is recorded too'
);
drop trigger refuse on underway.task;

alter table underway.task add constraint refuse check (queue <> 'fax') not valid;
select underway_test.advance_clock('10 seconds');
select underway.run_schedules();
select is((pg_temp.failing()).last_error ->> 'type', '23514', 'so is what a constraint of somebody else refuses');
alter table underway.task drop constraint refuse;
select underway_test.advance_clock('10 seconds');
select underway.run_schedules();
select is((underway_test.times_of('failing'))[11:], '{12:11,12:12,12:13}', 'later each of them comes, once');

-- a change takes effect at the next tick

select underway.drop_queue('fax', force => true);
select underway_test.advance_clock('1 minute');
select underway.run_schedules();
select isnt((pg_temp.failing()).last_error, null, 'a schedule fails');
select underway.schedule('failing', 'email', '* * * * *', catch_up => 'all');
select isnt((pg_temp.failing()).last_error, null, 'changed, it keeps its error until a time has come');
select underway_test.advance_clock('1 second');
select underway.run_schedules();
select is((underway_test.times_of('failing'))[14:], '{12:14}', 'it is tried at the next tick');
select is((pg_temp.failing()).last_error, null, 'then its error is forgotten');

-- an unchanged schedule waits

select underway.schedule('failing', 'email', '* * * * *', input => '"1234567890"');
select underway_test.stop_clock('2030-01-01 12:15:00+00');
update underway.setting set max_input_size = 10;
select underway.run_schedules();
select is((pg_temp.failing()).last_error ->> 'type', 'UW007', 'an input over a limit that was lowered is an error');
update underway.setting set max_input_size = 1048576;
select underway.schedule('failing', 'email', '* * * * *', input => '"1234567890"');
select underway_test.advance_clock('1 second');
select underway.run_schedules();
select isnt((pg_temp.failing()).last_error, null, 'the same call again changes nothing: it waits for its ten seconds');
select underway_test.advance_clock('9 seconds');
select underway.run_schedules();
select is((pg_temp.failing()).last_error, null, 'it comes when the limit is raised');

-- values that became wrong

select results_eq(
    $$
        select given.what, pg_temp.error_of(given.what, given.value)
        from (values ('cron', 'x'), ('time_zone', 'Mars/Olympus')) as given (what, value)
    $$,
    $$ values ('cron', 'UW008'), ('time_zone', '22023') $$,
    'an expression or a zone that the server does not know any more is an error'
);
select is(
    (underway_test.times_of('after'))[15:], '{12:16,12:17}', 'that stops nobody either'
);

-- paused

select underway.schedule('failing', 'email', '0 * * * *');
select underway.drop_queue('email', force => true);
select underway_test.stop_clock('2030-01-01 13:00:00+00');
select underway.run_schedules();
select underway.pause_schedule('failing');
select underway_test.advance_clock('1 hour');
select underway.run_schedules();
select is((pg_temp.failing()).last_error_at, '2030-01-01 13:00:00+00', 'a paused schedule is not tried');
select underway.create_queue('email');
select underway.resume_schedule('failing');
select underway_test.advance_clock('1 hour');
select underway.run_schedules();
select is((underway_test.times_of('failing'))[16:], '{15:00}', 'resumed, it comes at its next time');
select is((pg_temp.failing()).last_error, null, 'and its error is forgotten');

select * from finish();
rollback;
