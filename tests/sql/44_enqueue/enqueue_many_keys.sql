-- several tasks with keys

begin;
select plan(13);

select underway_test.stop_clock();
select underway.create_queue('email');

create temp table first as select underway.enqueue('email', unique_key => 'b') as id;
create temp table added as
select given.*
from underway.enqueue_many('email', '{1,2,3,4}', unique_keys => array['c', 'b', null, 'c'], concurrency_key => 'x') as ids,
    unnest(ids) with ordinality as given (id, place);

select is(added.id, first.id, 'a key that is taken gives the id of its task') from added, first where added.place = 2;

select results_eq(
    $$
        select added.place, t.input, t.unique_key::text collate "default", t.concurrency_key::text collate "default"
        from added
        join underway.task t on t.id = added.id
        where added.place <> 2
        order by added.place
    $$,
    $$ values (1::bigint, '1'::jsonb, 'c', 'x'), (3, '3', null, 'x'), (4, '1', 'c', 'x') $$,
    'new tasks have their ids in the order of the inputs, and share the concurrency key'
);

select is((select count(*) from underway.task), 3::bigint, 'there is one task for each key');

select is(
    cardinality(underway.enqueue_many('email', '{1,2}', concurrency_key => 'x')), 2, 'a concurrency key needs no unique keys'
);

select is(
    cardinality(underway.enqueue_many('email', '{1,2}', unique_keys => array[null, null]::text[])), 2,
    'unique keys that are all null are none'
);

select is(
    underway.enqueue_many('email', '{}', unique_keys => '{}', unique_for => '1 hour'), '{}', 'no inputs need no keys'
);

select underway.enqueue_many('email', '{7,8}', unique_keys => '{b,d}', on_conflict => 'replace');

select is(i.input, '7', 'on_conflict => ''replace'' works for several tasks') from first, underway.task_info(first.id) i;

select underway.enqueue_many('email', '{1}', unique_keys => '{held}', unique_for => '1 hour');

select is((select h.unique_key::text collate "default" from underway.unique_reservation h), 'held', 'unique_for works for several tasks');

-- refusals

create temp table before as select count(*) from underway.task;

select throws_ok(
    $$ select underway.enqueue_many('email', '{1,2}', unique_keys => '{new,b}', on_conflict => 'error') $$, 'UW010', null,
    'on_conflict => ''error'' refuses the whole call when one key is taken'
);

select throws_ok(
    $$ select underway.enqueue_many('email', '{1,2}', unique_keys => '{a}') $$, 'UW001',
    '1 unique keys are given for 2 inputs', 'too few keys are refused'
);

select throws_ok(
    $$ select underway.enqueue_many('email', '{1,2}', unique_keys => '{null}') $$, 'UW001',
    '1 unique keys are given for 2 inputs', 'too few keys are refused even if they are null'
);

select throws_ok(
    $$ select underway.enqueue_many('email', '{1,2}', unique_for => '1 hour') $$, 'UW001', null,
    'a unique_for without keys is refused'
);

select is((select count(*) from underway.task), before.count, 'a refused batch leaves no task') from before;

select * from finish();
rollback;
