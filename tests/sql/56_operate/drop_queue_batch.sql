begin;
select plan(8);

select underway.create_queue('work');
select underway.create_queue('email');
create temporary table task as select underway.enqueue('work') as id;
create temporary table after as
select
    underway.enqueue('work', after => array[id]) as inside, underway.enqueue('email', after => array[id]) as wait,
    underway.enqueue('email', after => array[id], after_failure => 'fail') as fail,
    underway.enqueue('email', after => array[id], after_failure => 'run') as run
from task;
create temporary table last as select underway.enqueue('email', after => array[inside], after_failure => 'run') as id from after;

select throws_ok(
    $$ select underway.drop_queue('email') $$, 'UW006', null, 'a queue that has waiting tasks is refused without force'
);
select underway.drop_queue('work', force => true);

select is(underway_test.state_of(inside), 'cancelled', 'force cancels the waiting tasks of the queue') from after;
select is(underway_test.state_of(wait), 'waiting', 'a dependent task in another queue stays waiting by default') from after;
select is(underway_test.state_of(fail), 'failed', 'a dependent task with after_failure fail fails') from after;
select is(underway_test.state_of(run), 'pending', 'a dependent task with after_failure run becomes pending') from after;
select is(underway_test.state_of(id), 'pending', 'a task that depends on a cancelled waiting task with after_failure run becomes pending') from last;

select underway.drop_queue('email', force => true);
select is_empty('select from underway.task', 'the queue of the dependent tasks can be dropped as well');
select lives_ok('select underway._run_chores()', 'upkeep runs without an error after both drops');

select * from finish();
rollback;
