begin;
select plan(16);

create temporary table held on commit drop as select * from underway_test.held_task('email');
select underway.enqueue('email', to_jsonb(n)) from generate_series(1, 4) n;
select underway.enqueue('email', '"later"', run_at => '2060-01-01', headers => '{"trace": "x"}', priority => -3);
select underway_test.ready_task('other');
create temporary table first on commit drop as select underway.enqueue('email') as id;
select underway.enqueue('email', '"after"', after => array(select id from first));

create temporary table batch on commit drop as select (underway.begin_move_batch(7, 'email', null, 0, 1000000, 2)).*;
select is((select jsonb_agg(t -> 'input') from batch, jsonb_array_elements(tasks) t), '[1, 2]', 'the first tasks are taken');
select is(
    (select count(*) from underway.task t, batch, jsonb_array_elements(tasks) e where t.id = (e ->> 'id')::bigint),
    0::bigint, 'they cannot be claimed any more'
);
select results_eq(
    'select shard, batch, previous from underway.outgoing_move', 'select 7, id, null::uuid from batch', 'the batch is stored'
);
select results_eq(
    $$ select id, shard, queue::text collate "default" from underway.moved_task order by id $$,
    $$ select (t ->> 'id')::bigint, 7, 'email'::text from batch, jsonb_array_elements(tasks) t order by 1 $$,
    'where they have gone is recorded'
);
select results_eq(
    $$ select id, tasks, last_task from underway.begin_move_batch(7, 'other', null, 3, 1000000) $$,
    'select id, tasks, 3::bigint from batch', 'while a batch is stored, it is returned again, whatever is asked for'
);

select underway.confirm_move_batch(7, (select id from batch), '{}');
create temporary table second on commit drop as
select (underway.begin_move_batch(7, 'email', null, (select last_task from batch), 1000000)).*;
select is((select previous from second), (select id from batch), 'a batch names the one before it');
select is(
    (select jsonb_agg(t -> 'input') from second, jsonb_array_elements(tasks) t), '[3, 4, "later"]',
    'running tasks stay, and those that wait or are waited for'
);
select is((select tasks -> 2 -> 'headers' from second), '{"trace": "x"}', 'a task is taken with all its columns');

select underway.confirm_move_batch(7, (select id from second), '{}');
select is(
    underway.begin_move_batch(7, 'email', null, (select last_task from second), 1000000)::text, '(,,,'
        || (select max(id) from underway.task where queue = 'email' and state = 'pending') || ')',
    'a stretch of ids may have no task that can be moved'
);
select is(
    underway.begin_move_batch(7, 'email', null, 1000000, 2000000), null, 'there is an end'
);
select is((select count(*) from underway.task where queue = 'other'), 1::bigint, 'other queues stay');

-- A unique key stays reserved.
create temporary table keyed on commit drop as
select underway.enqueue('other', '1', unique_key => 'a', unique_for => '1 hour') as id;
create temporary table third on commit drop as select (underway.begin_move_batch(7, 'other', null, 0, 1000000)).*;
select is(
    underway.enqueue('other', '2', unique_key => 'a'), (select id from keyed),
    'the unique key of a task on the way is taken'
);
select isnt(
    (select tasks -> 1 ->> 'reserved_until' from third), null, 'a reservation beyond the end of the task goes with it'
);
select underway.confirm_move_batch(7, (select id from third), '{}');
select isnt(
    underway.enqueue('other', '2', unique_key => 'a'), (select id from keyed), 'afterwards the key is free'
);

-- The place of a key is released.
select underway.create_queue('keys');
create temporary table many on commit drop as
select unnest(underway.enqueue_many('keys', array['"a1"', '"a2"']::jsonb[], concurrency_key => 'a')) as id;
select underway.begin_move_batch(8, 'keys', 'a', 0, (select min(id) from many));
select is(underway_test.claimed(10, 'keys'), 'a2', 'a parked task of a key takes the place of one that was moved');

-- Large inputs make small batches.
select underway.enqueue('other', to_jsonb(repeat('x', 1000000))) from generate_series(1, 10);
select is(
    jsonb_array_length((underway.begin_move_batch(9, 'other', null, 0, 1000000)).tasks), 10, 'a batch has about 8 MB'
);

select * from finish();
rollback;
