begin;
select plan(3);

create temporary table final on commit drop as
select underway_test.finished_task(state, 'email') as id from unnest('{succeeded,failed,cancelled}'::underway.task_state[]) as state;
create temporary table ready on commit drop as select underway_test.ready_task('email') as id;

select set_eq(
    'select underway.delete_many(array(select id from final union all select id from ready union all select 0))',
    'select id from final', 'finished tasks are removed, and their ids returned'
);
select is_empty('select i.* from final f, underway.task_info(f.id) i', 'nothing is left of them');
select is(underway_test.state_of(id), 'pending', 'a live task stays') from ready;

select * from finish();
rollback;
