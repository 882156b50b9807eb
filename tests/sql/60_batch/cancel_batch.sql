begin;
select plan(9);

select underway.create_queue('work');
select underway.create_queue('email');
create temporary table batch as
select underway.enqueue_batch(
    '[{"queue": "work"}, {"queue": "work"}, {"queue": "work"}, {"queue": "work"}]',
    '{"queue": "email"}', '{"queue": "email"}', '{"queue": "email"}'
) as id;
create temporary table done as select d.* from underway.dequeue('work') d;
select underway.complete(id, lease) from done;
create temporary table held as select d.* from underway.dequeue('work') d;
create temporary table other as select underway.enqueue('work') as id;

select is(underway.cancel_batch(id), 3, 'the live tasks of a batch are cancelled, running or not') from batch;
select is((succeeded, cancelled, live), (1::bigint, 3::bigint, 0::bigint), 'cancelling a batch leaves its succeeded tasks') from underway.batch_stats;
select is(underway_test.state_of(id), 'pending', 'cancelling a batch leaves other tasks') from other;
select throws_ok('select underway.complete(id, lease) from held', 'UW002', null, 'the holder of a cancelled task has lost its lease');
select results_eq(
    'select underway_test.state_of(on_success), underway_test.state_of(on_final), underway_test.state_of(on_failure) from underway.batch_stats',
    $$ values ('waiting', 'pending', 'pending') $$, 'the callbacks on_final and on_failure run then'
);
select is(underway.cancel_batch(id), 0, 'a second call cancels nothing') from batch;

-- a batch whose tasks wait for one another

create temporary table line as
select underway.enqueue_batch(
    jsonb_build_array(jsonb_build_object('queue', 'work', 'after', jsonb_build_array(id), 'after_failure', 'fail'))
) as id
from other;
select is(underway.cancel_batch(id), 1, 'waiting tasks of a batch are cancelled too') from line;

-- refusals

select throws_ok('select underway.cancel_batch(987654321)', 'UW012', 'batch 987654321 does not exist', 'a batch that does not exist is refused');
create temporary table hidden as select underway.enqueue('email', after => array[id]) as id from other;
select throws_ok(
    'select underway.cancel_batch(f.batch) from underway.dependent f, hidden where f.task = hidden.id', 'UW012', null,
    'an implicit batch is refused'
);

select * from finish();
rollback;
