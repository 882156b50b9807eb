begin;
select plan(8);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('sms');
select underway.enqueue('email');

create function pg_temp.recorded(seconds integer, valid_seconds integer, ready bigint)
returns void
language sql
as $$
    insert into underway.last_count (counted_at, next_at, valid_until, counts)
    select
        underway._clock() + seconds * interval '1 second', underway._clock(),
        underway._clock() + valid_seconds * interval '1 second',
        array[row('email', recorded.ready, 0, 0, 0, 0, 0, 0, null, null, true, underway._clock())::underway.queue_count];
$$;

select results_eq(
    'select queue, ready, capped, counted_at from underway.queue_counts() order by queue',
    $$ values ('email', 1::bigint, false, underway._clock()), ('sms', 0, false, underway._clock()) $$,
    'without a recorded count a reader counts by itself'
);

select pg_temp.recorded(-5, 3, 7);
select pg_temp.recorded(-2, 3, 9);
select results_eq(
    'select queue, ready, capped, counted_at from underway.queue_counts() order by queue',
    $$ values ('email', 9::bigint, true, '2030-01-01 11:59:58+00'::timestamptz), ('sms', 0, false, '2030-01-01 11:59:58+00') $$,
    'the newest recorded count is read, and a queue without tasks is in it'
);
select is(
    (select s.counted_at from underway.queue_stats s where s.queue = 'email'), '2030-01-01 11:59:58+00',
    'queue_stats says when the tasks were counted'
);
select is((underway.stats() ->> 'counted_seconds_ago')::numeric, 2::numeric, 'stats says how long ago');

select underway_test.advance_clock('3 seconds');
select is(
    (select c.ready from underway.queue_counts() c where c.queue = 'email'), 1::bigint,
    'a recorded count that is not valid any more is not read'
);

select pg_temp.recorded(2, 10, 11);
select is(
    (select c.ready from underway.queue_counts() c where c.queue = 'email'), 1::bigint,
    'a count that was recorded while the clock was ahead is not read'
);

select underway._record_counts();
select is_empty('select from underway.last_count', 'where few rows are live, none are recorded');
select is(
    (select c.counted_at from underway.queue_counts() c where c.queue = 'email'), underway._clock(),
    'and readers count again'
);

select * from finish();
rollback;
