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
    'what is created waits; the task that has a key already does not'
);
select is((select count(*) from underway.dependent), 2::bigint, 'and nothing follows for it');

create temporary table again as
select e.* from underway.enqueue_unique('email', '{4}', '{free}') e;
select is((a.id, a.created), (m.id, false), 'a task that waits has its key') from again a, made m where m.place = 1;
select throws_ok(
    $$ select underway.enqueue('email', unique_key => 'free', on_conflict => 'error') $$, 'UW010', null,
    'who insists on it is refused'
);
create temporary table replacing as
select e.* from underway.enqueue_unique('email', '{5}', '{free}', on_conflict => 'replace') e;
select ok(not r.replaced and r.id = m.id, 'a task that waits is not replaced') from replacing r, made m where m.place = 1;

create temporary table replaced as
select e.* from first, underway.enqueue_unique('email', '{6}', '{taken}', on_conflict => 'replace', after => array[first.id]) e;
select is(
    (r.id, r.replaced, underway_test.state_of(r.id))::text, format('(%s,t,pending)', live.id),
    'one that is replaced was not created, and so does not wait'
)
from replaced r, live;

create temporary table single as
select underway.enqueue('email', unique_key => 'single', after => array[id], after_failure => 'fail') as id from first;
select is(underway_test.state_of(id), 'waiting', 'the single form does the same') from single;

select underway.cancel(id) from first;
select is(underway_test.state_of(id), 'failed', 'its task may fail with another') from single;
select isnt(underway.enqueue('email', unique_key => 'single'), id, 'and then its key is free') from single;
select is(
    (select t.unique_key from underway.task t, made m where t.id = m.id and m.place = 1), 'free', 'who goes on waiting keeps it'
);

select * from finish();
rollback;
