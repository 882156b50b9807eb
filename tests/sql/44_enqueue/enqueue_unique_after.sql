begin;
select plan(10);

select underway.create_queue('work');
select underway.create_queue('email');
create temporary table first as select underway.enqueue('work') as id;
create temporary table live as select underway.enqueue('email', '"old"', unique_key => 'taken') as id;

create temporary table made as
select e.*, row_number() over () as place
from first, underway.enqueue_unique('email', '{1,2,3}', '{free,taken,null}', after => array[first.id]) e;

select results_eq(
    'select created, underway_test.state_of(id) from made order by place',
    $$ values (true, 'waiting'), (false, 'pending'), (true, 'waiting') $$,
    'created tasks wait; the task that holds a key already does not'
);
select is((select count(*) from underway.dependent), 2::bigint, 'the holder of the key gets no dependency');

create temporary table again as
select e.* from underway.enqueue_unique('email', '{4}', '{free}') e;
select is((a.id, a.created), (m.id, false), 'a waiting task holds its key') from again a, made m where m.place = 1;
select throws_ok(
    $$ select underway.enqueue('email', unique_key => 'free', on_conflict => 'error') $$, 'UW010', null,
    'on_conflict => ''error'' refuses the key of a waiting task'
);
create temporary table replacing as
select e.* from underway.enqueue_unique('email', '{5}', '{free}', on_conflict => 'replace') e;
select ok(not r.replaced and r.id = m.id, 'a waiting task is not replaced') from replacing r, made m where m.place = 1;

create temporary table replaced as
select e.* from first, underway.enqueue_unique('email', '{6}', '{taken}', on_conflict => 'replace', after => array[first.id]) e;
select is(
    (r.id, r.replaced, underway_test.state_of(r.id))::text, format('(%s,t,pending)', live.id),
    'a replaced task was not created by this call, so it does not wait'
)
from replaced r, live;

create temporary table single as
select underway.enqueue('email', unique_key => 'single', after => array[id], after_failure => 'fail') as id from first;
select is(underway_test.state_of(id), 'waiting', 'enqueue takes after and unique_key together') from single;

select underway.cancel(id) from first;
select is(underway_test.state_of(id), 'failed', 'a task with a unique key may fail with its dependency') from single;
select isnt(underway.enqueue('email', unique_key => 'single'), id, 'the key of a task that failed with its dependency is free') from single;
select is(
    (select t.unique_key from underway.task t, made m where t.id = m.id and m.place = 1), 'free', 'a task that goes on waiting keeps its key'
);

select * from finish();
rollback;
