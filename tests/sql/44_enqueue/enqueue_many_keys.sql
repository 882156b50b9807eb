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

select is(added.id, first.id, 'a unique key that is taken returns the id of its task') from added, first where added.place = 2;

select results_eq(
    $$
        select added.place, t.input, t.unique_key::text collate "default", t.concurrency_key::text collate "default"
        from added
        join underway.task t on t.id = added.id
        where added.place <> 2
        order by added.place
    $$,
    $$ values (1::bigint, '1'::jsonb, 'c', 'x'), (3, '3', null, 'x'), (4, '1', 'c', 'x') $$,
    'ids are returned in the order of the inputs, and all tasks have the concurrency key'
);

select is((select count(*) from underway.task), 3::bigint, 'one task is inserted for each unique key');

select is(
    cardinality(underway.enqueue_many('email', '{1,2}', concurrency_key => 'x')), 2, 'a concurrency key can be given without unique keys'
);

select is(
    cardinality(underway.enqueue_many('email', '{1,2}', unique_keys => array[null, null]::text[])), 2,
    'unique keys that are all null are no unique keys'
);

select is(
    underway.enqueue_many('email', '{}', unique_keys => '{}', unique_for => '1 hour'), '{}', 'an empty array of unique keys is accepted for no inputs'
);

select underway.enqueue_many('email', '{7,8}', unique_keys => '{b,d}', on_conflict => 'replace');

select is(i.input, '7', 'tasks are replaced with on_conflict replace') from first, underway.task_info(first.id) i;

select underway.enqueue_many('email', '{1}', unique_keys => '{held}', unique_for => '1 hour');

select is((select h.unique_key::text collate "default" from underway.unique_reservation h), 'held', 'unique keys are reserved for unique_for');

-- refusals

create temp table before as select count(*) from underway.task;

select throws_ok(
    $$ select underway.enqueue_many('email', '{1,2}', unique_keys => '{new,b}', on_conflict => 'error') $$, 'UW010', null,
    'a unique key that is taken refuses the whole batch with on_conflict error'
);

select throws_ok(
    $$ select underway.enqueue_many('email', '{1,2}', unique_keys => '{a}') $$, 'UW001',
    '1 unique keys are given for 2 inputs', 'fewer unique keys than inputs are refused'
);

select throws_ok(
    $$ select underway.enqueue_many('email', '{1,2}', unique_keys => '{null}') $$, 'UW001',
    '1 unique keys are given for 2 inputs', 'fewer null unique keys than inputs are refused'
);

select throws_ok(
    $$ select underway.enqueue_many('email', '{1,2}', unique_for => '1 hour') $$, 'UW001', null,
    'a unique_for without unique keys is refused'
);

select is((select count(*) from underway.task), before.count, 'a refused batch inserts no task') from before;

select * from finish();
rollback;
