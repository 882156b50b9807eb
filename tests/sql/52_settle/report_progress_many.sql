-- the progress of several tasks is stored

begin;
select plan(6);

select underway.create_queue('email');
select underway.enqueue_many('email', '{0,1,2,3}');

create temp table held as
select claimed.id, claimed.lease, claimed.input::integer as number from underway.dequeue('email', 4) as claimed;

select underway.complete(id, lease) from held where number = 3;

select set_eq(
    $$
        select underway.report_progress_many(
            array_agg(id order by id desc), array_agg(lease order by id desc),
            array_agg(to_jsonb(number * 10) order by id desc)
        )
        from held
        where number > 0
    $$,
    $$ select id from held where number in (1, 2) $$,
    'the ids of the tasks that are still held are returned'
);

select results_eq(
    'select input::integer, progress from underway.task order by id',
    $$ values (0, null::jsonb), (1, '10'), (2, '20') $$,
    'each task has its own progress, and others are not changed'
);

select is_empty($$ select underway.report_progress_many('{}', '{}', '{}') $$, 'an empty batch changes nothing');

select throws_ok(
    $$
        select underway.report_progress_many(array[id], array[lease], array[to_jsonb(repeat('x', 32768))])
        from held where number = 0
    $$,
    'UW001', 'progress has 32770 bytes of text', 'a progress that is too large is refused'
);

select throws_ok(
    $$ select underway.report_progress_many('{1,2}', array[gen_random_uuid()], '{1,2}') $$,
    'UW001', '2 tasks and 1 leases', 'arrays of different lengths are refused'
);

select throws_ok(
    $$ select underway.report_progress_many('{1}', array[null::uuid], '{1}') $$,
    'UW001', 'the lease of task 1 is null', 'a null lease is refused'
);

select * from finish();
rollback;
