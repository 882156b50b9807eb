-- no session may have called maintain on the day after a task expired

begin;
select plan(3);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('short', retention => '1 day');
select underway.create_queue('long', retention => '29 days');

create temporary table finished on commit drop as
select queue, underway_test.finished_task('succeeded', queue) as id
from unnest('{long, short}'::text[]) as queue;

select underway_test.advance_clock('10 days');
select underway._run_chores();

select is(
    (select underway_test.state_of(id) from finished where queue = 'short'), null,
    'a task that expired days ago is removed by the next call of maintain'
);

select is(
    (select underway_test.state_of(id) from finished where queue = 'long'), 'succeeded',
    'a task that has not expired is kept after days without maintain'
);

select underway_test.advance_clock('30 days');
select underway._run_chores();

select is(
    (select underway_test.state_of(id) from finished where queue = 'long'), null,
    'a task with a longer retention is removed after more days without maintain'
);

select * from finish();
rollback;
