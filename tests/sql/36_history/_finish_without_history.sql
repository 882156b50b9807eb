-- a queue that keeps no history

begin;
select plan(8);

select underway.create_queue('email', keep_history => false);
select underway.create_queue('sms');

create temporary table sent as select underway_test.finished_task('succeeded') as id;

select is_empty('select from underway.task_history', 'a task that succeeded leaves nothing behind');
select is_empty('select from underway.task', 'and is not live any more');
select is(underway_test.state_of(sent.id), null, 'nothing is known of it') from sent;

select is(
    underway_test.state_of(underway_test.finished_task('succeeded', 'sms')), 'succeeded',
    'another queue keeps what it did'
);

select is(
    underway_test.state_of(underway_test.finished_task(s)), s::text, format('a task that is %s is kept', s)
)
from unnest('{failed,cancelled}'::underway.task_state[]) as s;

create temporary table watched as select * from underway_test.held_task();
select underway.watch(watched.id) from watched;
select underway.complete(watched.id, watched.lease, '"sent"') from watched;

select is(
    i.output, '"sent"', 'a task that somebody waits for is kept, with what it gave'
)
from watched, underway.task_info(watched.id) i;

-- fencing does not depend on the history

create temporary table twice as select * from underway_test.held_task();
select underway.complete(twice.id, twice.lease) from twice;

select throws_ok(
    $$ select underway.complete(twice.id, twice.lease) from twice $$, 'UW002', null,
    'a second completion is refused all the same'
);

select * from finish();
rollback;
