begin;
select plan(10);

select underway_test.stop_clock();
select underway.create_queue('email');
update underway.stat_position set counted_task = underway.enqueue('email');
select underway_test.no_tasks();

create function pg_temp.enqueued()
returns table (at timestamptz, queue text, job text, tasks bigint)
language sql
as $$
    select s.at, s.queue, s.job, s.enqueued
    from underway.task_stat s
    where s.step = 'minute' and s.queue <> ''
    order by s.at, s.queue, s.job
$$;

create function pg_temp.last_id()
returns bigint
language sql
as $$ select last_value from underway.task_id_seq $$;

select is(underway._count_enqueued(null), 0, 'while no id is settled nothing is counted');

select underway.enqueue_many('email', array_fill('1'::jsonb, array[5]), job => 'send');
select underway_test.advance_clock('1 minute');
select underway_test.finished_task('succeeded', 'email');
select underway.enqueue('email', delay => '1 day');

select is(underway._count_enqueued(pg_temp.last_id()), 7, 'live and finished tasks are counted');
select results_eq(
    'select * from pg_temp.enqueued()',
    $$ values
        ('2030-01-01 12:00:00+00'::timestamptz, 'email', 'send', 5::bigint),
        ('2030-01-01 12:01:00+00', 'email', '', 1), ('2030-01-01 12:01:00+00', 'email', 'send_mail', 1) $$,
    'a task counts in the minute of its enqueueing'
);
select is(underway._count_enqueued(pg_temp.last_id()), 0, 'no id is counted twice');

select underway.retry(underway_test.finished_task('failed', 'email'));
select underway._count_enqueued(pg_temp.last_id());
create temporary table before on commit drop as select * from pg_temp.enqueued();
select underway.retry(id) from underway.task_list where state = 'cancelled';
select results_eq(
    'select sum(tasks) from pg_temp.enqueued()', $$ values (8::numeric) $$, 'a task that is retried was enqueued once'
);

-- bounds

select underway.enqueue_many('email', array_fill('1'::jsonb, array[10]));
create temporary table far on commit drop as select underway.enqueue('email') as id, pg_temp.last_id() + 1000000000 as new_id;
update underway.task t set id = f.new_id from far f where t.id = f.id;
select is(underway._count_enqueued(new_id, 4), 4, 'a call counts at most so many live tasks') from far;
select is(underway._count_enqueued(new_id, 4), 4, 'the next call goes on') from far;
select is(underway._count_enqueued(new_id, 4), 3, 'a gap in the ids costs no call') from far;
select is((select counted_task from underway.stat_position), new_id, 'all ids are counted') from far;

update underway.task set enqueued_at = 'infinity';
update underway.stat_position set counted_task = 0;
select lives_ok('select underway._count_enqueued(new_id) from far', 'an impossible time does not stop the counting');

select * from finish();
rollback;
