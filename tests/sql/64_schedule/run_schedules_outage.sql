-- long outages and outages across a clock change

begin;
select plan(33);

select underway.create_queue('email');

-- The times that a schedule enqueues after an outage, beside the last of all times that its cron expression gives.
create function pg_temp.after_outage(
    cron text,
    zone text,
    begins timestamptz,
    ends timestamptz,
    catch_up_limit integer
)
returns setof text
language plpgsql
as $$
declare
    v_count integer;
    v_found timestamptz[];
    v_all   timestamptz[];
begin
    delete from underway.schedule;
    delete from underway.task;
    perform underway_test.stop_clock(after_outage.begins);
    perform underway.schedule(
        's', 'email', after_outage.cron, after_outage.zone, catch_up => 'all', catch_up_limit => after_outage.catch_up_limit
    );
    perform underway_test.stop_clock(after_outage.ends);
    v_count := underway.run_schedules();
    select array_agg((t.headers ->> 'scheduled_at')::timestamptz order by t.id) into v_found from underway.task t;
    select array_agg(at order by at)
    into v_all
    from underway.cron_preview(after_outage.cron, after_outage.zone, after_outage.begins, 1000) as at
    where at <= after_outage.ends;
    v_all := v_all[greatest(1, cardinality(v_all) - v_count + 1):];
    return next is(
        v_found, v_all,
        format(
            'after an outage the times of %s in %s are the last ones that would have come',
            after_outage.cron, after_outage.zone
        )
    );
    return next cmp_ok(
        v_count, '>=', after_outage.catch_up_limit,
        format('at least %s times of %s are caught up', after_outage.catch_up_limit, after_outage.cron)
    );
end;
$$;

select pg_temp.after_outage(given.cron, given.zone, given.begins, given.ends, given.catch_up_limit)
from (values
    -- spring and autumn in Berlin
    (
        '*/15 * * * *', 'Europe/Berlin', '2030-03-30 12:00:00+00'::timestamptz, '2030-04-01 12:00:00+00'::timestamptz,
        100
    ),
    ('*/15 * * * *', 'Europe/Berlin', '2030-10-26 12:00:00+00', '2030-10-28 12:00:00+00', 150),
    ('30 2 * * *', 'Europe/Berlin', '2030-03-28 12:00:00+00', '2030-04-02 12:00:00+00', 5),
    ('30 2 * * *', 'Europe/Berlin', '2030-10-24 12:00:00+00', '2030-10-29 12:00:00+00', 5),
    ('30 * * * *', 'Europe/Berlin', '2030-10-26 22:00:00+00', '2030-10-27 04:00:00+00', 4),
    -- a clock change of half an hour in Lord Howe
    ('*/20 * * * *', 'Australia/Lord_Howe', '2030-04-05 00:00:00+00', '2030-04-08 00:00:00+00', 200),
    -- frequent times
    ('* * * * * *', 'UTC', '2030-01-01 12:00:00+00', '2030-01-01 12:10:00+00', 300),
    ('* * * * * *', 'UTC', '2030-01-01 12:00:00.3+00', '2030-01-01 12:10:00.7+00', 1),
    ('*/7 * * * * *', 'UTC', '2030-01-01 12:00:00+00', '2030-01-01 12:10:00.999999+00', 20),
    -- rare times
    ('0 0 29 2 *', 'UTC', '2030-01-01 00:00:00+00', '2050-01-01 00:00:00+00', 5),
    ('0 0 0 L * * 2030-2032', 'Asia/Tokyo', '2029-06-01 00:00:00+00', '2040-01-01 00:00:00+00', 36),
    ('0 9 * * mon#1', 'America/New_York', '2030-01-01 00:00:00+00', '2033-01-01 00:00:00+00', 30)
) as given (cron, zone, begins, ends, catch_up_limit);

-- a long outage takes no longer

select underway.unschedule(schedule) from underway.schedule_stats;
select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.schedule('minutely', 'email', '* * * * *', catch_up => 'all');
select underway.schedule('secondly', 'email', '* * * * * *', catch_up => 'once');
select underway.schedule('skipped', 'email', '* * * * * *', catch_up => 'skip');
select underway_test.stop_clock('2031-01-01 12:00:00+00');
delete from underway.task;

select performs_ok(
    'select underway.run_schedules()', 5000, 'a year of missed minutes and seconds is caught up within seconds'
);

select results_eq(
    $$
        select schedule collate "default", cardinality(underway_test.times_of(schedule)), next_at
        from underway.schedule_stats order by schedule
    $$,
    $$ values
        ('minutely', 101, '2031-01-01 12:01:00+00'::timestamptz),
        ('secondly', 61, '2031-01-01 12:00:01+00'),
        ('skipped', 60, '2031-01-01 12:00:01+00')
    $$,
    'only the times that catch_up allows and the times that are due now come'
);

select is(underway.run_schedules(), 0, 'a second call after an outage enqueues nothing');

-- the largest catch_up_limit, after ten years

select underway.unschedule(schedule) from underway.schedule_stats;
select underway.schedule('minutely', 'email', '* * * * *', catch_up => 'all', catch_up_limit => 1000);
select underway_test.stop_clock('2041-01-01 12:00:00+00');
delete from underway.task;
select performs_ok('select underway.run_schedules()', 15000, 'the largest catch_up_limit is caught up within seconds');
select results_eq(
    $$
        select count(*), min(headers ->> 'scheduled_at'), max(headers ->> 'scheduled_at')
        from underway.task
    $$,
    $$ values (1001::bigint, '2040-12-31T19:20:00Z', '2041-01-01T12:00:00Z') $$,
    'the latest thousand missed times and the time that is due now come'
);

-- a call is bounded, so that reclaiming leases is not delayed

select underway.unschedule(schedule) from underway.schedule_stats;
select underway_test.stop_clock('2041-01-01 12:00:30+00');
delete from underway.task;
select underway.schedule(name, 'email', '* * * * *', catch_up => 'all', catch_up_limit => 600)
from unnest('{a, b, c}'::text[]) as name;
select underway_test.stop_clock('2041-01-02 12:00:30+00');
select is(underway.run_schedules(), 1202, 'after a thousand tasks a call leaves the other schedules to the next call');
select is(underway.run_schedules(), 601, 'the next call continues with the other schedules');
select is(underway.run_schedules(), 0, 'further calls find nothing due');
select results_eq(
    $$ select count(*), count(distinct headers ->> 'scheduled_at') from underway.task group by headers ->> 'schedule' $$,
    $$ select 601::bigint, 601::bigint from generate_series(1, 3) $$,
    'each schedule gives each of its times once'
);

select * from finish();
rollback;
