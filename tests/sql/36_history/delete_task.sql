-- a finished task leaves the history before its time

begin;
select plan(18);

create temp table finished as
select 'cancelled' as state, underway_test.finished_task('cancelled') as id
union all
select 'failed', underway_test.finished_task('failed')
union all
select 'succeeded', underway_test.finished_task('succeeded');

create temp table kept as select underway_test.finished_task() as id;

select lives_ok(
    format('select underway.delete_task(%s)', finished.id), format('a task that is %s can be deleted', finished.state)
)
from finished;

select is(underway_test.state_of(finished.id), null, format('nothing is left of the one that was %s', finished.state))
from finished;

select is(underway_test.state_of(kept.id), 'succeeded', 'others stay') from kept;

select throws_ok(
    format('select underway.delete_task(%s)', finished.id), 'UW004', format('task %s does not exist', finished.id),
    'a deleted task cannot be deleted again'
)
from finished
where finished.state = 'failed';

-- one that is kept for longer than the ring reaches

create temp table long as select * from underway_test.held_task();
update underway.task t set retention = '1 year' where t.id = (select long.id from long);
select underway.complete(long.id, long.lease) from long;
select underway.delete_task(long.id) from long;

select is(underway_test.state_of(long.id), null, 'a task with a long retention can be deleted') from long;

-- live tasks

create temp table live as
select 'pending' as state, underway_test.ready_task() as id
union all
select 'in_progress', (underway_test.held_task()).id
union all
select 'waiting', underway_test.ready_task();

update underway.task t set state = 'waiting' where t.id = (select live.id from live where live.state = 'waiting');

select throws_ok(
    format('select underway.delete_task(%s)', live.id), 'UW005', format('task %s is %s', live.id, live.state),
    format('a task that is %s is refused', live.state)
)
from live;

select is(underway_test.state_of(live.id), live.state, format('it still is %s', live.state)) from live;

select matches(
    underway_test.hint_of('select underway.delete_task(live.id) from live where live.state = ''pending'''), 'cancel it first',
    'the hint says to cancel it first'
);

select throws_ok(
    'select underway.delete_task(987654321)', 'UW004', 'task 987654321 does not exist',
    'a task that does not exist is refused'
);

select throws_ok('select underway.delete_task(null)', 'UW004', null, 'null is refused');

select * from finish();
rollback;
