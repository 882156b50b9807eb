begin;
select plan(9);

select underway_test.stop_clock();
select underway.create_queue('email');

-- Times and ids.

select is(underway._id_at('2030-01-01'), 1::bigint, 'without tasks each time is at the beginning');

select underway.enqueue_many('email', array_fill('1'::jsonb, array[3000]));
select underway_test.advance_clock('1 day');
select underway.enqueue_many('email', array_fill('1'::jsonb, array[3000]));
create temporary table day on commit drop as
select min(id) filter (where enqueued_at < '2030-01-02') as first, max(id) filter (where enqueued_at < '2030-01-02') as last, max(id) as newest
from underway.task;

select ok(
    underway._id_at('2030-01-01 18:00:00+00') - last between 1 and 1000, 'the id at a time is above those of earlier tasks'
) from day;
select ok(underway._id_at('2031-01-01') > newest, 'the id at a later time is above all') from day;
select cmp_ok(underway._id_at('2000-01-01') - first, '<=', 1000::bigint, 'the id at an earlier time is near the beginning') from day;

create temporary table last on commit drop as select underway.enqueue('email') as id;
update underway.task set id = 9223372036854775800 where id = (select id from last);
select ok(underway._id_at('2030-01-01 18:00:00+00') > last, 'the largest ids are no problem') from day;

-- Reading in portions.

create function pg_temp.search(filter jsonb, max_tasks integer, max_read integer)
returns table (tasks integer, before bigint)
language sql
as $$
    select cardinality(s.tasks), s.before
    from underway._search_tasks(underway._read_filter(search.filter), null, search.max_tasks, search.max_read) s
$$;

select results_eq(
    $$ select * from pg_temp.search('{}', 10000, 20000) $$, $$ values (6001, null::bigint) $$, 'all portions are read until the end'
);
select results_eq(
    $$ select tasks from pg_temp.search('{}', 5000, 5000) $$, $$ values (5000) $$, 'as many as are wanted are found'
);
select results_eq(
    $$ select tasks, before is null from pg_temp.search('{"enqueued_before": "2030-01-01T13:00:00Z"}', 10000, 4001) $$,
    $$ values (3000, true) $$,
    'a search before a time does not read what is newer'
);
select results_eq(
    $$ select tasks, before is null from pg_temp.search('{"enqueued_after": "2030-01-02T00:00:00Z"}', 10000, 5500) $$,
    $$ values (3001, true) $$,
    'a search since a time does not read what is older'
);

select * from finish();
rollback;
