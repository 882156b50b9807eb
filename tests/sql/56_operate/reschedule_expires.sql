begin;
select plan(4);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
create temporary table task on commit drop as select underway.enqueue('email', expires => '1 hour') as id;

select lives_ok(format('select underway.reschedule(%s, %L)', id, '2030-01-01 12:59:00+00'), 'a task can be rescheduled before it expires')
from task;
select is((select expires_at from underway.task), '2030-01-01 13:00:00+00', 'its expiry stays') from task;
select throws_ok(
    format('select underway.reschedule(%s, %L)', id, '2030-01-01 13:00:00+00'), 'UW001', null,
    'a task cannot be rescheduled to after its expiry'
)
from task;
select underway_test.advance_clock('2 hours');
select throws_ok(
    format('select underway.reschedule(%s, %L)', id, '2030-01-01 12:00:00+00'), 'UW001', null,
    'a task that has expired cannot be rescheduled'
)
from task;

select * from finish();
rollback;
