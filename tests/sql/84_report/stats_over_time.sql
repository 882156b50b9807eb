begin;
select plan(8);

select underway_test.stop_clock('2030-01-01 12:00:30+00');
update underway.stat_position set counted_task = underway.enqueue('email') from underway.create_queue('email');
select underway_test.no_tasks();
select underway_test.finished_task('succeeded', 'email');
select underway_test.advance_clock('1 minute');
select underway_test.finished_task('failed', 'email');
select underway_test.finished_task('cancelled', 'other');
select underway_test.count_statistics();

create function pg_temp.stats(since timestamptz, until timestamptz, step interval default null, queue text default null, job text default null)
returns setof underway.stats_of_time
language sql
as $$ select * from underway.stats_over_time(stats.since, stats.until, stats.step, stats.queue, stats.job) $$;

select results_eq(
    $$
        select at, enqueued, started, succeeded, failed, cancelled
        from pg_temp.stats('2030-01-01 11:59:00+00', '2030-01-01 12:03:00+00', '1 minute')
    $$,
    $$ values
        ('2030-01-01 11:59:00+00'::timestamptz, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint),
        ('2030-01-01 12:00:00+00', 1, 1, 1, 0, 0), ('2030-01-01 12:01:00+00', 2, 2, 0, 1, 1),
        ('2030-01-01 12:02:00+00', 0, 0, 0, 0, 0) $$,
    'each minute has its row, also when nothing happened'
);
select results_eq(
    $$ select sum(failed), sum(cancelled) from pg_temp.stats('2030-01-01 11:00:00+00', '2030-01-01 13:00:00+00', queue => 'other') $$,
    $$ values (0::numeric, 1::numeric) $$, 'one queue can be asked for'
);
select results_eq(
    $$ select sum(succeeded) from pg_temp.stats('2030-01-01 11:00:00+00', '2030-01-01 13:00:00+00', job => 'nothing') $$,
    $$ values (0::numeric) $$, 'one job can be asked for'
);
select results_eq(
    $$ select count(*), sum(succeeded), sum(enqueued) from pg_temp.stats('2029-12-20 12:00:00+00', '2030-01-02 12:00:00+00', '1 day') $$,
    $$ values (14::bigint, 1::numeric, 3::numeric) $$, 'days are read from hours'
);
select results_eq(
    $$ select count(*), sum(succeeded) from pg_temp.stats('2030-01-01 11:30:30+00', '2030-01-01 12:30:30+00') $$,
    $$ values (61::bigint, 1::numeric) $$, 'a step is chosen where none is given'
);
select results_eq(
    $$ select run_p50 is null, wait_p99 is null from pg_temp.stats('2030-01-01 11:00:00+00', '2030-01-01 11:01:00+00') $$,
    $$ values (true, true) $$, 'without data there are no percentiles'
);
select results_eq(
    $$ select run_p50 <= 0.001 from pg_temp.stats('2030-01-01 12:00:00+00', '2030-01-01 12:01:00+00') $$,
    $$ values (true) $$, 'percentiles are in seconds'
);
select throws_ok(
    $$ select pg_temp.stats('2030-01-02', '2030-01-01') $$, 'UW001', null, 'the period is checked'
);

select * from finish();
rollback;
