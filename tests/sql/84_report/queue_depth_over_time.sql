begin;
select plan(4);

insert into underway.queue_depth (at, queue, ready, scheduled, in_progress, waiting, oldest_ready_seconds)
values
    ('2030-01-01 12:00:00+00', '', 5, 0, 1, 0, 9), ('2030-01-01 12:00:00+00', 'email', 5, 0, 1, 0, 9),
    ('2030-01-01 12:01:00+00', '', 7, 1, 0, 0, 8), ('2030-01-01 12:01:00+00', 'other', 7, 1, 0, 0, 8);

create function pg_temp.depth(step interval, queue text default null)
returns table (at text, ready bigint, oldest double precision)
language sql
as $$
    select to_char(d.at at time zone 'UTC', 'HH24:MI'), d.ready, d.oldest_ready_seconds
    from underway.queue_depth_over_time('2030-01-01 11:59:00+00', '2030-01-01 12:02:00+00', depth.step, depth.queue) d
$$;

select results_eq(
    $$ select * from pg_temp.depth('1 minute') $$,
    $$ values ('11:59', null::bigint, null::double precision), ('12:00', 5, 9), ('12:01', 7, 8) $$,
    'a minute without a sample has none'
);
select results_eq(
    $$ select * from pg_temp.depth('1 minute', 'email') $$,
    $$ values ('11:59', null::bigint, null::double precision), ('12:00', 5, 9), ('12:01', 0, null) $$,
    'a queue without tasks in a sample has zero'
);
select results_eq(
    $$ select * from pg_temp.depth('1 hour') $$, $$ values ('11:00', null::bigint, null::double precision), ('12:00', 7, 9) $$,
    'a longer step has the greatest numbers'
);
select throws_ok($$ select pg_temp.depth('1 second') $$, 'UW001', null, 'the step is checked');

select * from finish();
rollback;
