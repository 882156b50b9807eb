begin;
select plan(3);

update underway.stat_position set counted_task = underway.enqueue('email') from underway.create_queue('email');
select underway_test.no_tasks();
select underway_test.finished_task('succeeded', 'email');
select underway_test.finished_task('failed', 'other');
select underway_test.count_statistics();

select results_eq(
    'select queue, job, enqueued, started, succeeded, failed from underway.stats_total order by queue',
    $$ values ('email' collate "C", 'send_mail' collate "C", 1::bigint, 1::bigint, 1::bigint, 0::bigint), ('other', 'send_mail', 1, 1, 0, 1) $$,
    'each queue and job has its counters'
);
select results_eq(
    'select cardinality(run_histogram), cardinality(wait_histogram) from underway.stats_total limit 1', $$ values (28, 28) $$,
    'histograms have all their buckets'
);
select is(
    (select sum(n) from underway.stats_total t cross join unnest(t.run_histogram) n where t.queue = 'email'), 1::numeric,
    'each attempt is in one bucket'
);

select * from finish();
rollback;
