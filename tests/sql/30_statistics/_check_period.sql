begin;
select plan(14);

create function pg_temp.step_of(period interval, step interval default null)
returns interval
language sql
as $$
    select underway._check_period('2030-01-01 00:00:00+00', '2030-01-01 00:00:00+00'::timestamptz + step_of.period, step_of.step)
$$;

select is(pg_temp.step_of('1 hour'), '1 minute', 'an hour has steps of a minute');
select is(pg_temp.step_of('1 day'), '10 minutes', 'a day has steps of ten minutes');
select is(pg_temp.step_of('7 days'), '2 hours', 'a week has steps of two hours');
select is(pg_temp.step_of('30 days'), '6 hours', 'a month has steps of six hours');
select cmp_ok(
    extract(epoch from interval '36525 days') / extract(epoch from pg_temp.step_of('36525 days')), '<=', 150.0,
    'a century has at most 150 steps'
);
select is(pg_temp.step_of('1 second'), '1 minute', 'a second has one step of a minute');
select is_empty(
    $$
        select minutes
        from generate_series(60, 45000, 37) as minutes
        cross join lateral (
            select extract(epoch from make_interval(mins => minutes)) / extract(epoch from pg_temp.step_of(make_interval(mins => minutes))) as steps
        ) s
        where steps not between 59 and 150
    $$,
    'from an hour to a month there are 60 to 150 steps'
);
select is(pg_temp.step_of('1 day', '5 minutes'), '5 minutes', 'a step that is given is used');

select throws_ok(
    $$ select pg_temp.step_of('1 day', '30 seconds') $$, 'UW001', null, 'a step of less than a minute is refused'
);
select throws_ok(
    $$ select pg_temp.step_of('1 day', '90 seconds') $$, 'UW001', null, 'a step of half minutes is refused'
);
select throws_ok(
    $$ select pg_temp.step_of('10000 days', '1 minute') $$, 'UW001', null, 'more than 10000 steps are refused'
);
select throws_ok($$ select pg_temp.step_of('-1 day') $$, 'UW001', null, 'a period that ends before it begins is refused');
select throws_ok(
    $$ select underway._check_period('-infinity', 'infinity') $$, 'UW001', null, 'a period without an end is refused'
);
select throws_ok(
    $$ select underway._check_period(null, '2030-01-01') $$, 'UW001', null, 'a period needs a beginning'
);

select * from finish();
rollback;
