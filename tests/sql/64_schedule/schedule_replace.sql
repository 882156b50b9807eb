-- a schedule is declared again, with or without changes

begin;
select plan(44);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue(queue) from unnest('{email, invoice}'::text[]) as queue;

-- without changes

create function pg_temp.declare()
returns timestamptz
language sql
as $$
    select underway.schedule(
        'same', 'email', '0 * * * *[Europe/Berlin]', input => '{"to": ["all", 1.5, null]}', job => 'send_mail',
        priority => 7, retry_policy => underway.retry_policy(max_attempts => 9), timeout => '2 minutes',
        heartbeat => '20 seconds',
        retention => '5 days', headers => '{"trace": "1-2"}', catch_up => 'all', catch_up_limit => 5, overlap => 'skip',
        jitter => '10 minutes', starts_at => '2030-01-01 00:00:00+00', ends_at => '2030-03-01 00:00:00+00',
        owner => 'app'
    )
$$;

create function pg_temp.row_of(name text)
returns jsonb
language sql
as $$
    select to_jsonb(s) from underway.schedule s where s.name = row_of.name
$$;

select is(pg_temp.declare(), '2030-01-01 13:00:00+00', 'declaring a schedule returns its next time');
create temporary table before on commit drop as select pg_temp.row_of('same') as "row";

select underway_test.advance_clock('10 minutes');
select is(pg_temp.declare(), '2030-01-01 13:00:00+00', 'declaring a schedule again returns the same time');
select is(
    pg_temp.row_of('same'), before.row,
    'declaring a schedule again changes no column, not even updated_at'
) from before;

select underway_test.stop_clock('2030-01-01 15:30:00+00');
select is(pg_temp.declare(), '2030-01-01 13:00:00+00', 'declaring a schedule again keeps the due time');
select is(pg_temp.row_of('same'), before.row, 'declaring a schedule again keeps missed times') from before;
select underway.run_schedules();
select is(underway_test.times_of('same'), '{13:00}', 'a missed time comes once after the schedule was declared again');

update before set "row" = pg_temp.row_of('same');
select is(pg_temp.declare(), '2030-01-01 16:00:00+00', 'declaring a schedule again after a time returns the next time');
select is(
    pg_temp.row_of('same'), before.row,
    'declaring a schedule again keeps its last time and last task'
) from before;

-- changes of other settings than the times

create function pg_temp.changed_by(arguments text, queue text default 'email')
returns text
language plpgsql
as $$
declare
    v_next_at timestamptz;
    v_changed text;
begin
    perform underway_test.stop_clock('2030-01-01 12:00:00+00');
    perform underway.unschedule('changed');
    perform underway.schedule('changed', 'email', '0 * * * *', retention => '1 month', input => '{"n": 1}');
    perform underway_test.stop_clock('2030-01-01 13:00:30+00');
    execute format(
        'select underway.schedule(%L, %L, %L, %s)', 'changed', changed_by.queue, '0 * * * *', changed_by.arguments
    ) into v_next_at;
    select concat_ws(
        ', ',
        case when s.next_at = v_next_at then 'next ' || to_char(s.next_at at time zone 'UTC', 'HH24:MI:SS') end,
        'created ' || to_char(s.created_at at time zone 'UTC', 'HH24:MI:SS'),
        'updated ' || to_char(s.updated_at at time zone 'UTC', 'HH24:MI:SS')
    )
    into strict v_changed
    from underway.schedule s
    where s.name = 'changed';
    return v_changed;
end;
$$;

select is(
    pg_temp.changed_by('retention => ''1 month'', input => ''{"n": 1}'''),
    'next 13:00:00, created 12:00:00, updated 12:00:00',
    'a call without a change keeps the due time and is not an update'
);

select is(
    pg_temp.changed_by('retention => ''1 month'', input => ''{"n": 1}'', ' || given.argument),
    'next 13:00:00, created 12:00:00, updated 13:00:30',
    format('a change by %s is an update that keeps the due time', given.argument)
)
from (values
    ('job => ''send_mail'''),
    ('priority => 1'),
    ('retry_policy => underway.retry_policy()'),
    ('timeout => ''1 minute'''),
    ('heartbeat => ''1 minute'''),
    ('headers => ''{}'''),
    ('catch_up => ''skip'''),
    ('catch_up_limit => 99'),
    ('overlap => ''skip'''),
    ('jitter => ''1 second'''),
    ('owner => ''app''')
) as given (argument);

select is(
    pg_temp.changed_by('retention => ''1 month'', input => ''{"n": 1}''', queue => 'invoice'),
    'next 13:00:00, created 12:00:00, updated 13:00:30',
    'a change of the queue is an update that keeps the due time'
);

select is(
    pg_temp.changed_by('retention => ''1 month'', input => ''{"n": 2}'''),
    'next 13:00:00, created 12:00:00, updated 13:00:30',
    'a change of the input is an update that keeps the due time'
);

select is(
    pg_temp.changed_by('retention => ''30 days'', input => ''{"n": 1}'''),
    'next 13:00:00, created 12:00:00, updated 13:00:30',
    'a change from 1 month to 30 days is a change'
);

-- changes of the times

select is(
    pg_temp.changed_by('retention => ''1 month'', input => ''{"n": 1}'', ' || given.argument), given.changed,
    format('a change by %s computes a new next time', given.argument)
)
from (values
    ('time_zone => ''Asia/Kolkata''', 'next 13:30:00, created 12:00:00, updated 13:00:30'),
    ('starts_at => ''2030-01-01 00:00:00+00''', 'next 14:00:00, created 12:00:00, updated 13:00:30'),
    ('starts_at => ''2030-01-01 15:00:00+00''', 'next 15:00:00, created 12:00:00, updated 13:00:30'),
    ('ends_at => ''2030-01-01 14:00:00+00''', 'next 14:00:00, created 12:00:00, updated 13:00:30')
) as given (argument, changed);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.schedule('moved', 'email', '0 * * * *', catch_up => 'all');
select underway_test.stop_clock('2030-01-01 13:00:30+00');
select is(
    underway.schedule('moved', 'email', '*/20 * * * *', catch_up => 'all'), '2030-01-01 13:20:00+00',
    'another expression counts from now'
);
select underway.run_schedules();
select is(underway_test.times_of('moved'), '{}', 'a time that was due by the old expression is skipped');
select underway_test.stop_clock('2030-01-01 13:20:00+00');
select underway.run_schedules();
select is(underway_test.times_of('moved'), '{13:20}', 'another expression takes effect at the next call');

select underway_test.stop_clock('2030-01-01 12:30:00+00');
select is(
    underway.schedule('moved', 'email', '*/10 * * * *', catch_up => 'all'), '2030-01-01 13:30:00+00',
    'when the clock was set back, the next time is after the last time that gave a task'
);
select is(
    underway.schedule('moved', 'email', '*/10 * * * *', starts_at => '2030-01-01 12:35:00+00'),
    '2030-01-01 13:30:00+00',
    'with a start in the past the next time is still after the last time that gave a task'
);

-- tasks after a change

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.schedule('edited', 'email', '0 * * * *', input => '1', priority => 1);
select underway_test.stop_clock('2030-01-01 13:00:30+00');
select underway.schedule('edited', 'invoice', '0 * * * *', input => '2', headers => '{"edition": 2}');
select underway.run_schedules();
select results_eq(
    $$
        select queue collate "default", input, priority, headers
        from underway.task where headers ->> 'schedule' = 'edited'
    $$,
    $$ values (
        'invoice', '2'::jsonb, 0, '{"edition": 2, "schedule": "edited", "scheduled_at": "2030-01-01T13:00:00Z"}'::jsonb
    ) $$,
    'the next task has the new options'
);

create temporary table past on commit drop as
select last_at, last_task from underway.schedule_stats where schedule = 'edited';
select underway.schedule('edited', 'email', '*/5 * * * *');
select results_eq(
    $$ select last_at, last_task from underway.schedule_stats where schedule = 'edited' $$,
    'select last_at, last_task from past',
    'a change keeps the last time and the last task'
);

-- omitted arguments

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.schedule('same', 'email', '0 * * * *');
select underway.schedule('fresh', 'email', '0 * * * *');
select is(
    pg_temp.row_of('same') - '{name, created_at, anchored_at, last_at, last_task, next_at, check_at}'::text[],
    pg_temp.row_of('fresh') - '{name, created_at, anchored_at, last_at, last_task, next_at, check_at}'::text[],
    'an omitted argument gets its default, not its previous value'
);

-- paused

select underway.pause_schedule('fresh');
select is(
    underway.schedule('fresh', 'email', '* * * * *'), '2030-01-01 12:01:00+00',
    'changing a paused schedule returns the time at which it would come'
);
select is(
    (select paused_at from underway.schedule_stats where schedule = 'fresh'), '2030-01-01 12:00:00+00',
    'a paused schedule that is changed stays paused'
);
select underway_test.advance_clock('10 minutes');
select underway.run_schedules();
select is(underway_test.times_of('fresh'), '{}', 'a paused schedule that is changed enqueues nothing');

-- ended

select underway.schedule('ended', 'email', '* * * * *', ends_at => '2030-01-01 12:11:00+00');
select underway_test.advance_clock('2 minutes');
select underway.run_schedules();
select is(
    underway.schedule('ended', 'email', '* * * * *', ends_at => '2030-01-01 12:11:00+00'), null,
    'declaring a schedule that has ended again returns no next time'
);
select is(underway.run_schedules(), 0, 'a schedule that has ended and is declared again enqueues nothing');
select is(
    underway.schedule('ended', 'email', '* * * * *', ends_at => '2030-01-01 12:13:00+00'), '2030-01-01 12:13:00+00',
    'a schedule that has ended continues with a later end'
);
select throws_ok(
    $$ select underway.schedule('ended', 'email', '* * * * *', ends_at => '2030-01-01 12:10:00+00') $$, 'UW008', null,
    'another end in the past is refused'
);

-- an expression whose last time has passed

select underway.schedule('single', 'email', '0 13 12 1 1 * 2030');
select underway_test.advance_clock('1 minute');
select underway.run_schedules();
select is(
    underway.schedule('single', 'email', '0 13 12 1 1 * 2030'), null,
    'declaring an expression again whose last time has passed returns no next time'
);
select is(underway_test.times_of('single'), '{12:13}', 'an expression with a single time comes once');

select * from finish();
rollback;
