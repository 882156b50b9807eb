-- times at which no session ran the schedules

begin;
select plan(38);

select underway.create_queue('email');

-- The times of a schedule that was created at noon and first run at a given time.
create function pg_temp.make_up(
    at timestamptz,
    arguments text,
    cron text default '* * * * *'
)
returns text[]
language plpgsql
as $$
begin
    delete from underway.schedule;
    delete from underway.task;
    perform underway_test.stop_clock('2030-01-01 12:00:00+00');
    execute format('select underway.schedule(%L, %L, %L, %s)', 's', 'email', make_up.cron, make_up.arguments);
    perform underway_test.stop_clock(make_up.at);
    perform underway.run_schedules();
    return underway_test.times_of('s', 'HH24:MI:SS');
end;
$$;

create function pg_temp.made_up(
    at timestamptz,
    arguments text,
    times text[],
    description text,
    cron text default '* * * * *'
)
returns text
language sql
as $$
    select is(pg_temp.make_up(made_up.at, made_up.arguments, made_up.cron), made_up.times, made_up.description)
$$;

-- less than a minute late

select pg_temp.made_up(
    '2030-01-01 12:01:59.999999+00', format('catch_up => %L', missed), '{12:01:00}',
    format('with %s, a time that is less than a minute late gives a task', missed)
)
from unnest('{skip, once, all}'::text[]) as missed;

select pg_temp.made_up(
    '2030-01-01 12:00:59.9+00', format('catch_up => %L, catch_up_limit => 1', missed),
    '{12:00:10,12:00:20,12:00:30,12:00:40,12:00:50}',
    format('with %s, each time that is less than a minute late gives a task', missed), '*/10 * * * * *'
)
from unnest('{skip, once, all}'::text[]) as missed;

-- a minute late

select pg_temp.made_up(
    '2030-01-01 13:01:00+00', 'catch_up => ''skip''', '{}', 'a time is missed after a minute', '0 * * * *'
);
select pg_temp.made_up(
    '2030-01-01 13:00:59.999999+00', 'catch_up => ''skip''', '{13:00:00}', 'a time is not missed before a minute has passed',
    '0 * * * *'
);
select pg_temp.made_up(
    '2030-01-01 12:02:00+00', 'catch_up => ''skip''', '{12:02:00}',
    'a time that is due now is not missed together with an earlier one'
);

-- ten minutes late: 12:01 to 12:09 are missed, 12:10 is not

select pg_temp.made_up('2030-01-01 12:10:30+00', given.arguments, given.times::text[], given.description)
from (values
    ('catch_up => ''skip''', '{12:10:00}', 'skip skips missed times'),
    ('catch_up => ''once''', '{12:09:00,12:10:00}', 'once catches up the latest missed time'),
    ('catch_up_limit => 7', '{12:09:00,12:10:00}', 'once is the default and ignores catch_up_limit'),
    (
        'catch_up => ''all''',
        '{12:01:00,12:02:00,12:03:00,12:04:00,12:05:00,12:06:00,12:07:00,12:08:00,12:09:00,12:10:00}',
        'all catches up each missed time, oldest first'
    ),
    (
        'catch_up => ''all'', catch_up_limit => 8',
        '{12:02:00,12:03:00,12:04:00,12:05:00,12:06:00,12:07:00,12:08:00,12:09:00,12:10:00}',
        'all catches up as many missed times as catch_up_limit'
    ),
    (
        'catch_up => ''all'', catch_up_limit => 3', '{12:07:00,12:08:00,12:09:00,12:10:00}',
        'all catches up the latest missed times'
    ),
    (
        'catch_up => ''all'', catch_up_limit => 1', '{12:09:00,12:10:00}',
        'all with a limit of 1 catches up one missed time'
    )
) as given (arguments, times, description);

-- missed times are handled once

create function pg_temp.goes_on(catch_up text)
returns setof text
language plpgsql
as $$
begin
    perform pg_temp.make_up('2030-01-01 12:10:30+00', format('catch_up => %L, catch_up_limit => 3', goes_on.catch_up));
    return next is(underway.run_schedules(), 0, format('with %s, a second call enqueues nothing', goes_on.catch_up));
    return next results_eq(
        'select next_at, last_at from underway.schedule_stats',
        $results$ values ('2030-01-01 12:11:00+00'::timestamptz, '2030-01-01 12:10:00+00'::timestamptz) $results$,
        format('with %s, last_at and next_at are correct after an outage', goes_on.catch_up)
    );
end;
$$;

select pg_temp.goes_on(missed) from unnest('{skip, once, all}'::text[]) as missed;

select underway_test.stop_clock('2030-01-01 12:11:00+00');
select is(underway.run_schedules(), 1, 'after an outage the next time gives a task');
select underway_test.stop_clock('2030-01-01 12:21:00+00');
select underway.run_schedules();
select is(
    underway_test.times_of('s'), '{12:07,12:08,12:09,12:10,12:11,12:18,12:19,12:20,12:21}',
    'each outage is caught up separately'
);

-- missed times only

select pg_temp.made_up('2030-01-04 12:00:00+00', given.arguments, given.times::text[], given.description, '0 0 * * *')
from (values
    ('catch_up => ''skip''', '{}', 'without a time that is due now, skip gives no task'),
    ('catch_up => ''once''', '{00:00:00}', 'without a time that is due now, once gives one task'),
    ('catch_up => ''all''', '{00:00:00,00:00:00,00:00:00}', 'without a time that is due now, all gives a task for each')
) as given (arguments, times, description);

select is(underway_test.times_of('s', 'DD'), '{02,03,04}', 'the oldest missed time comes first');

select pg_temp.make_up('2030-01-04 12:00:00+00', 'catch_up => ''once''', '0 0 * * *');
select is(underway_test.times_of('s', 'DD'), '{04}', 'once catches up the latest day');

select pg_temp.make_up('2030-01-04 12:00:00+00', 'catch_up => ''skip''', '0 0 * * *');
select results_eq(
    'select next_at, last_at, last_task from underway.schedule_stats',
    $$ values ('2030-01-05 00:00:00+00'::timestamptz, null::timestamptz, null::bigint) $$,
    'a skipped time does not become the last time'
);

-- the end came during the outage

select pg_temp.made_up(
    '2030-01-01 13:00:00+00', 'ends_at => ''2030-01-01 12:03:00+00'', ' || given.arguments, given.times::text[],
    given.description
)
from (values
    ('catch_up => ''skip''', '{}', 'with skip, a schedule that ended during the outage gives no task'),
    ('catch_up => ''once''', '{12:03:00}', 'with once, a schedule that ended during the outage gives its last time'),
    (
        'catch_up => ''all''', '{12:01:00,12:02:00,12:03:00}',
        'with all, a schedule that ended during the outage gives the times until its end'
    ),
    (
        'catch_up => ''all'', catch_up_limit => 2', '{12:02:00,12:03:00}',
        'with all, a schedule that ended during the outage gives as many times as catch_up_limit'
    )
) as given (arguments, times, description);

select is(
    (select next_at from underway.schedule_stats), null,
    'a schedule that ended during the outage has no next time'
);

select pg_temp.made_up(
    '2030-01-01 12:03:30+00', 'ends_at => ''2030-01-01 12:03:00+00'', catch_up => ''skip''', '{12:03:00}',
    'a last time that is less than a minute late is not missed'
);

-- the start

select pg_temp.made_up(
    '2030-01-01 13:00:00+00', 'starts_at => ''2030-01-01 12:58:00+00'', catch_up => ''all''',
    '{12:58:00,12:59:00,13:00:00}', 'no time before the start is caught up'
);

-- several schedules

delete from underway.schedule;
delete from underway.task;
select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.schedule(missed, 'email', '*/5 * * * *', catch_up => missed)
from unnest('{skip, once, all}'::text[]) as missed;
select underway_test.stop_clock('2030-01-01 12:17:00+00');
select is(underway.run_schedules(), 4, 'each schedule is caught up by its own setting');

select * from finish();
rollback;
