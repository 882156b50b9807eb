begin;
select plan(6);

select underway._add_statistics(array(
    select row(
        '2030-01-01 12:00:00+00'::timestamptz + minute * interval '1 minute', 'succeeded', queue, job,
        '2030-01-01 12:00:00+00', 1, 1, 1, 11, 5
    )::underway.stat_count
    from generate_series(0, 119) as minute
    cross join unnest('{a,b}'::text[]) as queue
    cross join unnest('{x,y,null}'::text[]) as job
));

create function pg_temp.sums(step interval, queue text, job text, by_queue boolean, by_job boolean)
returns setof underway.task_stats
language sql
as $$
    select *
    from underway._sum_statistics(
        '2030-01-01 12:00:00+00', '2030-01-01 13:00:00+00', sums.step, sums.queue, sums.job, sums.by_queue, sums.by_job
    )
$$;

select results_eq(
    $$ select at, queue, job, succeeded from pg_temp.sums('30 minutes', null, null, false, false) $$,
    $$ values
        ('2030-01-01 12:00:00+00'::timestamptz, null::text, null::text, 180::bigint),
        ('2030-01-01 12:30:00+00', null, null, 180) $$,
    'all queues and jobs are summed up by time'
);
select results_eq(
    $$ select succeeded, run_p50, wait_p50 from pg_temp.sums(null, 'a', 'x', false, false) $$,
    $$ values (60::bigint, 0.768::double precision, 0.012::double precision) $$,
    'one queue and job, and percentiles'
);
select results_eq(
    $$ select queue, job, succeeded from pg_temp.sums(null, null, 'y', true, false) $$,
    $$ values ('a', null::text, 60::bigint), ('b', null, 60) $$,
    'one job is summed up by queue'
);
select results_eq(
    $$ select queue, job, succeeded from pg_temp.sums(null, 'b', null, true, true) $$,
    $$ values ('b', '', 60::bigint), ('b', 'x', 60), ('b', 'y', 60) $$,
    'one queue is summed up by job'
);

-- whole hours and days are read as such: without the minutes and hours of the first of three days, nothing changes

select underway._add_statistics(array(
    select row(at, 'succeeded', 'c', 'x', at, 1, 1, 1, 11, 5)::underway.stat_count
    from generate_series('2030-02-01 22:30:00+00', '2030-02-05 01:30:00+00', interval '15 minutes') at
));
delete from underway.task_stat
where (step = 'minute' and at between '2030-02-01 23:00:00+00' and '2030-02-05 00:59:00+00')
   or (step = 'hour' and at between '2030-02-02 00:00:00+00' and '2030-02-04 23:00:00+00');

select results_eq(
    $$
        select succeeded
        from underway._sum_statistics(
            '2030-02-01 22:45:00+00', '2030-02-05 01:15:00+00', null, 'c', null, false, false
        )
    $$,
    'values (298::bigint)',
    'a period of minutes, hours, days, hours and minutes is summed up, each time once'
);
select results_eq(
    $$
        select at, succeeded
        from underway._sum_statistics('2030-02-02 00:00:00+00', '2030-02-04 00:00:00+00', '1 day', 'c', null, false, false)
    $$,
    $$ values ('2030-02-02 00:00:00+00'::timestamptz, 96::bigint), ('2030-02-03 00:00:00+00', 96) $$,
    'steps of a day are read as days'
);

select * from finish();
rollback;
