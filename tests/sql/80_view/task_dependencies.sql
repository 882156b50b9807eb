begin;
select plan(6);

select underway.create_queue('dead');
select underway.create_queue('email', dead_letter_queue => 'dead');
create temporary table first on commit drop as select underway.enqueue('email', job => 'one') as id;
create temporary table second on commit drop as select underway.enqueue('email', job => 'two', after => array(select id from first)) as id;

select results_eq(
    'select d.task, d.relation, d.state::text, d.job from second s, underway.task_dependencies(s.id) d',
    $$ select id, 'after', 'pending', 'one' from first $$, 'a task comes after another one'
);
select results_eq(
    'select d.task, d.relation, d.state::text, d.job from first f, underway.task_dependencies(f.id) d',
    $$ select id, 'before', 'waiting', 'two' from second $$, 'a task comes before another one'
);

create temporary table batch on commit drop as
select underway.enqueue_batch('[{"queue": "email", "input": 1}]', on_final => '{"queue": "email", "input": 2, "job": "end"}') as id;
select results_eq(
    $$
        select d.relation, d.batch, d.job
        from batch b, underway.batch_task m, underway.task_dependencies(m.task) d
        where m.batch = b.id
    $$,
    $$ select 'callback', id, 'end' from batch $$, 'a task of a batch leads to its callback'
);

create temporary table failed on commit drop as select underway_test.finished_task('failed', 'email') as id;
create temporary table letter on commit drop as select id from underway.task where queue = 'dead';
select results_eq(
    'select d.task, d.relation, d.state::text from failed f, underway.task_dependencies(f.id) d',
    $$ select id, 'dead letter', 'pending' from letter $$, 'a failed task leads to its dead letter'
);
select underway.delete_task(id) from failed;
select results_eq(
    'select d.task, d.relation, d.state::text from letter l, underway.task_dependencies(l.id) d',
    $$ select id, 'dead letter of', null::text from failed $$, 'a dead letter leads to its task, which may be gone'
);
select is_empty('select from underway.task_dependencies(0)', 'an unknown task is related to none');

select * from finish();
rollback;
