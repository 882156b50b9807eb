begin;
select plan(11);

select underway.create_queue('email');
select underway.enqueue('email', to_jsonb(n), unique_key => n::text) from generate_series(1, 3) n;
create temporary table batch on commit drop as select (underway.begin_move_batch(7, 'email', null, 0, 1000000)).*;
update underway.unique_reservation set expires_at = '-infinity';
select underway.enqueue('email', '"other"', unique_key => '2');

create temporary table refused on commit drop as
select underway.receive_move_batch(3, previous, id, tasks) as ids from batch;
select is(
    (select ids from refused), (select array[(tasks -> 1 ->> 'id')::bigint] from batch),
    'a task whose unique key another task has is refused'
);
select set_eq(
    'select input from underway.task', $$ select jsonb_array_elements('[1, "other", 3]') $$, 'the others are pending here'
);
select results_eq(
    'select shard, batch, refused from underway.incoming_move', 'select 3, id, ids from batch, refused',
    'the batch is recorded with what was refused'
);
select results_eq(
    'select id from underway.moved_task', 'select unnest(ids) from refused', 'a task that has come back is not elsewhere any more'
);

delete from underway.task;
select is(
    underway.receive_move_batch(3, previous, id, tasks), (select ids from refused),
    'a batch that was received gives the same answer again'
) from batch;
select is_empty('select from underway.task', 'and none of its tasks is inserted again, also if they have ended');

select throws_like(
    $$ select underway.receive_move_batch(3, null, gen_random_uuid(), tasks) from batch $$,
    '%from shard 3 follows batch none, and the last one received is%', 'a batch that does not follow the last one is refused'
);
select throws_ok(
    $$ select underway.receive_move_batch(4, id, gen_random_uuid(), tasks) from batch $$, 'UW001', null,
    'so is one that follows a batch of which nothing is known'
);
select is_empty('select from underway.task', 'nothing of it is inserted');
select lives_ok(
    $$ select underway.receive_move_batch(3, id, gen_random_uuid(), tasks) from batch $$, 'the next batch is accepted'
);
select is((select count(*) from underway.task), 3::bigint, 'with its tasks');

select * from finish();
rollback;
