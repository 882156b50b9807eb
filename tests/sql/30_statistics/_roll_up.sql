begin;
select plan(13);

select is(
    array(
        select underway._bucket(seconds)
        from unnest('{0, 0.001, 0.0010001, 0.002, 1, 67108.864, 67109, 1e300, Infinity}'::double precision[]) with ordinality as g (seconds, n)
        order by n
    ),
    '{1,1,2,2,11,27,28,28,28}'::smallint[],
    'a duration is in the bucket whose upper bound is the first that is not smaller'
);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.enqueue_many('email', array_fill('1'::jsonb, array[30]), job => 'send');
select underway.enqueue_many('email', array_fill('2'::jsonb, array[3]));
select underway_test.advance_clock('4 seconds');

create temporary table held on commit drop as select * from underway.dequeue('email', 33);
select underway_test.advance_clock('60 seconds');
select underway.complete_many(array_agg(id order by id), array_agg(lease)) from held;

select results_eq(
    'select outcome, tasks, queue, job, cardinality(ready_at) from underway.uncounted order by job',
    $$ values ('succeeded', 30, 'email' collate "C", 'send', 30), ('succeeded', 3, 'email', null, 3) $$,
    'tasks of one queue and job that were claimed together are one row'
);

select results_eq(
    'select complete, attempts from underway._roll_up()', $$ values (true, 33::bigint) $$, 'all of them are added up'
);
select is_empty('select from underway.uncounted', 'what was added up is deleted');

select results_eq(
    $$ select job, started, succeeded, run_seconds, wait_seconds from underway.task_stat where step = 'total' and queue = 'email' order by job $$,
    $$ values ('' collate "C", 3::bigint, 3::bigint, 180::double precision, 12::double precision), ('send', 30, 30, 1800, 120) $$,
    'tasks are counted by their jobs, with their run times and waiting times'
);
select results_eq(
    $$ select run_histogram[17], wait_histogram[13] from underway.task_stat where step = 'total' and job = 'send' $$,
    $$ values (30::bigint, 30::bigint) $$,
    'a minute is in the bucket up to 65.5 seconds, and four seconds in that up to 4.1 seconds'
);
select results_eq(
    $$ select at, started, succeeded from underway.task_stat where step = 'minute' and job = 'send' order by at $$,
    $$ values ('2030-01-01 12:00:00+00'::timestamptz, 30::bigint, 0::bigint), ('2030-01-01 12:01:00+00', 0, 30) $$,
    'attempts count as started in the minute in which they began'
);

-- bounds

select underway_test.finished_task('succeeded', 'email') from generate_series(1, 5);
select underway_test.finished_task('cancelled', 'email');
select underway_test.finished_task('failed', 'email');

select results_eq(
    'select complete, attempts from underway._roll_up(3)', $$ values (false, 3::bigint) $$,
    'a call adds up about as many as it may, and says that some are left'
);
select results_eq(
    'select complete, attempts from underway._roll_up()', $$ values (true, 4::bigint) $$, 'the next call adds up the rest'
);
select results_eq(
    $$ select succeeded, failed, cancelled from underway.task_stat where step = 'total' and queue = '' $$,
    $$ values (38::bigint, 1::bigint, 1::bigint) $$,
    'nothing is counted twice'
);

-- extreme times

insert into underway.uncounted (at, outcome, tasks, queue, started_at, ready_at)
select '2030-01-01 12:00:00+00', 'succeeded', 1, 'odd', given.started_at, array[given.ready_at]
from (
    values
        ('-infinity'::timestamptz, '-infinity'::timestamptz),
        ('2030-01-01 13:00:00+00', '2030-01-01 14:00:00+00'),
        ('2030-01-01 12:00:00+00', '0044-03-15 00:00:00+00 BC'),
        ('infinity', 'infinity')
) as given (started_at, ready_at);
select lives_ok('select from underway._roll_up()', 'impossible times do not stop the counting');
select results_eq(
    $$ select succeeded, run_seconds < 1e10, wait_seconds < 1e10 from underway.task_stat where step = 'total' and queue = 'odd' $$,
    $$ values (4::bigint, true, true) $$,
    'impossible times count as a duration of zero or of decades'
);

delete from underway.stat_position;
select lives_ok('select from underway._roll_up()', 'without a position nothing is read');

select * from finish();
rollback;
