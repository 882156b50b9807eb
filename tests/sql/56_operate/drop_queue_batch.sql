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
    $$ select underway.drop_queue('email') $$, 'UW006', null, 'a queue whose tasks wait is not dropped but by force'
);
select underway.drop_queue('work', force => true);

select is(underway_test.state_of(inside), 'cancelled', 'by force its tasks are cancelled, those that wait too') from after;
select is(underway_test.state_of(wait), 'waiting', 'what comes after them in another queue goes on waiting') from after;
select is(underway_test.state_of(fail), 'failed', 'or fails') from after;
select is(underway_test.state_of(run), 'pending', 'or runs') from after;
select is(underway_test.state_of(id), 'pending', 'what came after one that waited, too') from last;

select underway.drop_queue('email', force => true);
select is_empty('select from underway.task', 'the other queue may be dropped as well');
select lives_ok('select underway._run_chores()', 'and upkeep has nothing against it');

select * from finish();
rollback;
