begin;
select plan(6);

select underway_test.stop_clock('2030-01-01 12:00:00Z');
select underway.create_queue('email');
create temporary table task as
select
    underway.enqueue('email') as first, underway.enqueue('email') as second,
    underway.enqueue('email', delay => '1 hour') as late, underway.enqueue('email') as cancelled,
    underway.enqueue('email', priority => 3) as high;
select underway._block_tasks(array[first, second, late, cancelled, high], 7, 'final') from task;
select underway.cancel(cancelled) from task;
select underway_test.advance_clock('10 minutes');

select underway._unblock_tasks(array[second, first, late, cancelled, high, 987654321]) from task;

select is(
    (select array_agg((t.ready_at at time zone 'UTC')::text order by t.id) from underway.task t),
    '{2030-01-01 12:10:00,2030-01-01 12:10:00,2030-01-01 13:00:00,2030-01-01 12:10:00}',
    'an unblocked task is ready now, or at the time that it was enqueued for'
);

select is(underway_test.state_of(cancelled), 'cancelled', 'a cancelled task stays cancelled') from task;

select results_eq(
    'select id from underway.dequeue(''email'', 10)', 'select unnest(array[high, first, second]) from task',
    'unblocked tasks are claimed in the order of priority and insertion'
);

select underway._unblock_tasks(array[first, late]) from task;
select is(underway_test.state_of(first), 'in_progress', 'a running task continues to run') from task;
select is(
    (select t.ready_at from underway.task t, task where t.id = late), '2030-01-01 13:00:00Z',
    'a pending task does not change'
);

-- the clock was put back by a second

create temporary table back as select underway.enqueue('email', priority => 7) as id;
select underway._block_tasks(array[id], 7, 'final') from back;
insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
select 'email', 7, underway._clock(), underway._clock() + interval '1 second', '{}';
select underway._unblock_tasks(array[id]) from back;
select is(
    (select t.ready_at from underway.task t, back where t.id = back.id), underway._clock() + interval '1 second',
    'an unblocked task is not ready before the time that the watermark was observed at'
);

select * from finish();
rollback;
