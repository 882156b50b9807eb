begin;
select plan(11);

select is(underway._add_histograms('{}', '{}'), '{}', 'the sum of empty histograms is empty');
select is(underway._add_histograms('{1,2}', '{}'), '{1,2}', 'adding nothing changes nothing');
select is(underway._add_histograms('{1}', '{1,2,3}'), '{2,2,3}', 'a longer histogram can be added to a shorter one');
select is(underway._to_histogram('{2,null,4,2}', '{1,9,3,1}'), '{0,2,0,3}', 'counts enter their buckets');
select is(underway._to_histogram('{null}', '{9}'), '{}', 'counts without a bucket give an empty histogram');

create function pg_temp.add(at timestamptz, outcome text, queue text, job text, tasks bigint, started_at timestamptz default null)
returns void
language sql
as $$
    select underway._add_statistics(array[
        row(
            add.at, add.outcome, add.queue, add.job, add.started_at, add.tasks, add.tasks * 2.0, add.tasks * 1.0,
            case when add.started_at is not null then 12 end, case when add.started_at is not null then 11 end
        )::underway.stat_count
    ])
$$;

select pg_temp.add('2030-01-01 12:34:56+00', 'succeeded', 'email', 'send', 3, '2030-01-01 12:33:10+00');
select pg_temp.add('2030-01-01 12:34:01+00', 'failed', 'email', 'send', 2, '2030-01-01 12:34:00+00');
select pg_temp.add('2030-01-01 13:00:00+00', 'cancelled', 'email', null, 1);

select results_eq(
    $$
        select at, started, succeeded, failed from underway.task_stat
        where step = 'minute' and queue = 'email' and job = 'send' order by at
    $$,
    $$ values ('2030-01-01 12:33:00+00'::timestamptz, 3::bigint, 0::bigint, 0::bigint), ('2030-01-01 12:34:00+00', 2, 3, 2) $$,
    'an attempt counts in the minute of its end, and its start in that of its beginning'
);
select results_eq(
    $$ select at, started, succeeded, failed, cancelled from underway.task_stat where step = 'hour' and queue = 'email' order by at $$,
    $$ values ('2030-01-01 12:00:00+00'::timestamptz, 5::bigint, 3::bigint, 2::bigint, 0::bigint), ('2030-01-01 13:00:00+00', 0, 0, 0, 1) $$,
    'hours have the sums of their minutes'
);
select results_eq(
    $$ select job, succeeded, failed, cancelled, run_seconds, wait_seconds from underway.task_stat where step = 'total' and queue = 'email' order by job $$,
    $$ values ('' collate "C", 0::bigint, 0::bigint, 1::bigint, 2::double precision, 1::double precision), ('send', 3, 2, 0, 10, 5) $$,
    'there are sums since the installation, of tasks without a job too'
);
select results_eq(
    $$ select started, succeeded, failed, cancelled from underway.task_stat where step = 'total' and queue = '' $$,
    $$ values (5::bigint, 3::bigint, 2::bigint, 1::bigint) $$,
    'there are sums of all queues and jobs'
);
select is(
    (select run_histogram[12] from underway.task_stat where step = 'total' and queue = 'email' and job = 'send'), 5::bigint,
    'run times are counted in their bucket'
);

select lives_ok('select underway._add_statistics(null)', 'nothing can be added');

select * from finish();
rollback;
