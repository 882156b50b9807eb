begin;
select plan(6);

create temporary table held on commit drop as select * from underway_test.held_task('email');
create temporary table ready on commit drop as select underway_test.ready_task('email') as id;
create temporary table final on commit drop as select underway_test.finished_task('succeeded', 'email') as id;
create temporary table after on commit drop as
select underway.enqueue('email', after => array(select id from ready), after_failure => 'run') as id;

select set_eq(
    'select underway.cancel_many(array(select id from held union all select id from ready union all select id from final) || 0::bigint)',
    'select id from held union all select id from ready',
    'live tasks are cancelled, and their ids returned; others stay as they are'
);
select is(underway_test.state_of(id), 'cancelled', 'a running task is cancelled') from held;
select throws_ok(format('select underway.complete(%s, %L)', id, lease), 'UW002', null, 'its holder loses the lease') from held;
select is(underway_test.state_of(id), 'succeeded', 'a finished task stays') from final;
select isnt(underway_test.state_of(id), 'waiting', 'what waits for the task goes on') from after;
select is_empty($$ select underway.cancel_many('{}') $$, 'no tasks can be cancelled');

select * from finish();
rollback;
