begin;
select plan(10);

select underway.create_queue('email');
select underway.enqueue('email', to_jsonb(n), unique_key => n::text, unique_for => '1 hour') from generate_series(1, 3) n;
create temporary table before on commit drop as select * from underway.task;
create temporary table reserved on commit drop as select * from underway.unique_reservation;
create temporary table batch on commit drop as select (underway.begin_move_batch(7, 'email', null, 0, 1000000)).*;

select ok(not underway.confirm_move_batch(7, gen_random_uuid(), '{}'), 'another batch is not confirmed');
select ok(not underway.confirm_move_batch(8, id, '{}'), 'nor is the batch for another shard') from batch;
select isnt((select tasks from underway.outgoing_move), null, 'the batch stays stored');

select ok(underway.confirm_move_batch(7, id, array[(tasks -> 1 ->> 'id')::bigint]), 'the batch is confirmed') from batch;
select results_eq(
    'select previous, batch, tasks from underway.outgoing_move', 'select id, null::uuid, null::jsonb from batch',
    'it is stored no longer, and the next one follows it'
);
select results_eq(
    'select * from underway.task', $$ select * from before where input = '2' $$, 'a task that was refused is back as it was'
);
select results_eq(
    'select * from underway.unique_reservation', $$ select * from reserved where unique_key = '2' $$, 'so is its reservation'
);
select throws_like(
    format('select underway.why(%s)', before.id), 'task % was moved to shard 7 at %', 'it is known where the others are'
) from before where input = '1';
select set_eq(
    'select id from underway.moved_task', $$ select id from before where input <> '2' $$, 'which is not said of the refused one'
);
select ok(not underway.confirm_move_batch(7, id, '{}'), 'to confirm it again changes nothing') from batch;

select * from finish();
rollback;
