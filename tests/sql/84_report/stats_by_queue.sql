begin;
select plan(4);

select underway_test.stop_clock('2030-01-01 12:00:30+00');
select underway_test.finished_task('succeeded', 'email');
select underway_test.finished_task('failed', 'other');
select underway.create_queue('quiet');
select underway_test.count_statistics();

select results_eq(
    $$ select queue, succeeded, failed from underway.stats_by_queue('2030-01-01 12:00:00+00', '2030-01-01 13:00:00+00') order by queue $$,
    $$ values ('email', 1::bigint, 0::bigint), ('other', 0, 1) $$, 'each queue in which something happened has a row'
);
select results_eq(
    $$ select queue, succeeded, failed from underway.stats_by_queue('2029-12-01', '2030-01-02') order by queue $$,
    $$ values ('email', 1::bigint, 0::bigint), ('other', 0, 1) $$, 'a long time is read from hours'
);
select is(
    (select count(*) from underway.stats_by_queue('2030-01-01', '2030-01-02', 'nothing')), 0::bigint,
    'the other name can be asked for'
);
select throws_ok($$ select underway.stats_by_queue('2030-01-02', '2030-01-01') $$, 'UW001', null, 'the period is checked');

select * from finish();
rollback;
