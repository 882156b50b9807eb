-- times for which nobody was there

begin;
select plan(38);

select underway.create_queue('email');

-- A schedule that was made at noon, and ran for the first time at a given one.
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
    format('with %s, a time that is less than a minute late comes', missed)
)
from unnest('{skip, once, all}'::text[]) as missed;

select pg_temp.made_up(
    '2030-01-01 12:00:59.9+00', format('catch_up => %L, catch_up_limit => 1', missed),
    '{12:00:10,12:00:20,12:00:30,12:00:40,12:00:50}',
    format('with %s, all times that are less than a minute late come, each for itself', missed), '*/10 * * * * *'
)
from unnest('{skip, once, all}'::text[]) as missed;

-- a minute late

select pg_temp.made_up(
    '2030-01-01 13:01:00+00', 'catch_up => ''skip''', '{}', 'after a minute a time is missed', '0 * * * *'
);
select pg_temp.made_up(
    '2030-01-01 13:00:59.999999+00', 'catch_up => ''skip''', '{13:00:00}', 'not before', '0 * * * *'
);
select pg_temp.made_up(
    '2030-01-01 12:02:00+00', 'catch_up => ''skip''', '{12:02:00}', 'the time that is now is not missed with it'
);

-- ten minutes late: 12:01 to 12:09 are missed, 12:10 is not

select pg_temp.made_up('2030-01-01 12:10:30+00', given.arguments, given.times::text[], given.description)
from (values
    ('catch_up => ''skip''', '{12:10:00}', 'skip leaves missed times out'),
    ('catch_up => ''once''', '{12:09:00,12:10:00}', 'once makes up for the latest of them'),
    ('catch_up_limit => 7', '{12:09:00,12:10:00}', 'once is the default, and knows no limit'),
    (
        'catch_up => ''all''',
        '{12:01:00,12:02:00,12:03:00,12:04:00,12:05:00,12:06:00,12:07:00,12:08:00,12:09:00,12:10:00}',
        'all makes up for each of them, oldest first'
    ),
    (
        'catch_up => ''all'', catch_up_limit => 8',
        '{12:02:00,12:03:00,12:04:00,12:05:00,12:06:00,12:07:00,12:08:00,12:09:00,12:10:00}', 'up to the limit'
    ),
    ('catch_up => ''all'', catch_up_limit => 3', '{12:07:00,12:08:00,12:09:00,12:10:00}', 'which takes the latest ones'),
    ('catch_up => ''all'', catch_up_limit => 1', '{12:09:00,12:10:00}', 'be it one')
) as given (arguments, times, description);

-- what is missed is missed for good, and all goes on

create function pg_temp.goes_on(catch_up text)
returns setof text
language plpgsql
as $$
begin
    perform pg_temp.make_up('2030-01-01 12:10:30+00', format('catch_up => %L, catch_up_limit => 3', goes_on.catch_up));
    return next is(underway.run_schedules(), 0, format('with %s, a second call makes up for no more', goes_on.catch_up));
    return next results_eq(
        'select next_at, last_at from underway.schedule_stats',
        $results$ values ('2030-01-01 12:11:00+00'::timestamptz, '2030-01-01 12:10:00+00'::timestamptz) $results$,
        format('with %s, the last time is the last, and the next the next', goes_on.catch_up)
    );
end;
$$;

select pg_temp.goes_on(missed) from unnest('{skip, once, all}'::text[]) as missed;

select underway_test.stop_clock('2030-01-01 12:11:00+00');
select is(underway.run_schedules(), 1, 'afterwards each time comes as ever');
select underway_test.stop_clock('2030-01-01 12:21:00+00');
select underway.run_schedules();
select is(
    underway_test.times_of('s'), '{12:07,12:08,12:09,12:10,12:11,12:18,12:19,12:20,12:21}',
    'each outage is made up for by itself'
);

-- nothing but missed times

select pg_temp.made_up('2030-01-04 12:00:00+00', given.arguments, given.times::text[], given.description, '0 0 * * *')
from (values
    ('catch_up => ''skip''', '{}', 'where no time is fresh, skip gives nothing'),
    ('catch_up => ''once''', '{00:00:00}', 'once gives one'),
    ('catch_up => ''all''', '{00:00:00,00:00:00,00:00:00}', 'all gives all')
) as given (arguments, times, description);

select is(underway_test.times_of('s', 'DD'), '{02,03,04}', 'the oldest comes first');

select pg_temp.make_up('2030-01-04 12:00:00+00', 'catch_up => ''once''', '0 0 * * *');
select is(underway_test.times_of('s', 'DD'), '{04}', 'the latest is the one that is made up for');

select pg_temp.make_up('2030-01-04 12:00:00+00', 'catch_up => ''skip''', '0 0 * * *');
select results_eq(
    'select next_at, last_at, last_task from underway.schedule_stats',
    $$ values ('2030-01-05 00:00:00+00'::timestamptz, null::timestamptz, null::bigint) $$,
    'a time that was left out is no last time'
);

-- the end came during the outage

select pg_temp.made_up(
    '2030-01-01 13:00:00+00', 'ends_at => ''2030-01-01 12:03:00+00'', ' || given.arguments, given.times::text[],
    given.description
)
from (values
    ('catch_up => ''skip''', '{}', 'with skip, a schedule that ended meanwhile gives nothing more'),
    ('catch_up => ''once''', '{12:03:00}', 'with once, its last time'),
    ('catch_up => ''all''', '{12:01:00,12:02:00,12:03:00}', 'with all, what it missed until its end'),
    ('catch_up => ''all'', catch_up_limit => 2', '{12:02:00,12:03:00}', 'up to the limit')
) as given (arguments, times, description);

select is((select next_at from underway.schedule_stats), null, 'then it has ended');

select pg_temp.made_up(
    '2030-01-01 12:03:30+00', 'ends_at => ''2030-01-01 12:03:00+00'', catch_up => ''skip''', '{12:03:00}',
    'an end that is fresh is not missed'
);

-- the start

select pg_temp.made_up(
    '2030-01-01 13:00:00+00', 'starts_at => ''2030-01-01 12:58:00+00'', catch_up => ''all''',
    '{12:58:00,12:59:00,13:00:00}', 'nothing is made up for that was before the start'
);

-- one schedule's outage is not another's

delete from underway.schedule;
delete from underway.task;
select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.schedule(missed, 'email', '*/5 * * * *', catch_up => missed)
from unnest('{skip, once, all}'::text[]) as missed;
select underway_test.stop_clock('2030-01-01 12:17:00+00');
select is(underway.run_schedules(), 4, 'each schedule is made up for by its own policy');

select * from finish();
rollback;
