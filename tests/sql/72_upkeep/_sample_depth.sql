begin;
select plan(5);

select underway_test.stop_clock('2030-01-01 12:34:10+00');
select underway.create_queue('empty');
select underway.create_queue('email');
select underway.enqueue_many('email', array_fill('1'::jsonb, array[3]));
select underway.enqueue('email', delay => '1 hour');
select underway_test.held_task('other');
select underway_test.advance_clock('30 seconds');

select is(underway._sample_depth(), true, 'the depths are recorded');
select results_eq(
    'select at, queue, ready, scheduled, in_progress, waiting, oldest_ready_seconds from underway.queue_depth order by queue',
    $$ values
        ('2030-01-01 12:34:00+00'::timestamptz, '' collate "C", 3::bigint, 1::bigint, 1::bigint, 0::bigint, 30::double precision),
        ('2030-01-01 12:34:00+00', 'email', 3, 1, 0, 0, 30), ('2030-01-01 12:34:00+00', 'other', 0, 0, 1, 0, null) $$,
    'each queue with tasks has a row, and all together have one'
);
select is(underway._sample_depth(), false, 'once a minute');
select underway_test.advance_clock('20 seconds');
select is(underway._sample_depth(), true, 'in the next minute again');
select is((select count(*) from underway.queue_depth where queue = ''), 2::bigint, 'there are two samples');

select * from finish();
rollback;
