begin;
select plan(2);

select underway_test.stop_clock('2030-01-01');
select underway_test.ready_task('email') from generate_series(1, 3);
create temporary table batch on commit drop as select (underway.begin_move_batch(7, 'email', null, 0, 1000000)).*;
select results_eq(
    'select shard, tasks, begun_at from underway.unfinished_moves', $$ values (7, 3, '2030-01-01'::timestamptz) $$,
    'a batch that was not confirmed is shown with its tasks'
);
select underway.confirm_move_batch(7, id, '{}') from batch;
select is_empty('select from underway.unfinished_moves', 'a confirmed batch is not');

select * from finish();
rollback;
