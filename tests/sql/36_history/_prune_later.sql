-- what is kept for longer than the ring reaches is pruned row by row

begin;
select plan(10);

select underway_test.stop_clock('2030-01-01 12:00:00+00');

create temp table task (retention interval, id bigint);

create function pg_temp.finish_with_ttl(retention interval) returns void language plpgsql as $$
declare
    v_held underway_test.held := underway_test.held_task();
begin
    update underway.task t set retention = finish_with_ttl.retention where t.id = v_held.id;
    perform underway.complete(v_held.id, v_held.lease);
    insert into task values (finish_with_ttl.retention, v_held.id);
end;
$$;

select pg_temp.finish_with_ttl(make_interval(days => days)) from unnest(array[43, 40, 42, 41, 44]) as days;

select underway_test.stop_clock('2030-02-10 11:59:59.999999+00');

select is(underway._prune(), 0, 'nothing is deleted before its retention is over');

select is((select count(*) from underway.task_history), 5::bigint, 'all tasks are still in the history');

select underway_test.stop_clock('2030-02-10 12:00:00+00');

select is(underway._prune(), 1, 'a task is deleted the moment its retention is over');

select is_empty(
    $$ select from underway.task_history h join task on task.id = h.id where task.retention = '40 days' $$,
    'the task that is deleted is the one that expired'
);

select underway_test.stop_clock('2030-02-13 12:00:00+00');

select is(underway._prune(0), 0, 'no more are deleted than allowed: none');

select is(underway._prune(2), 2, 'no more are deleted than allowed: two');

select results_eq(
    $$ select task.retention from underway.task_history h join task on task.id = h.id order by task.retention $$,
    array[interval '43 days', interval '44 days'],
    'tasks are deleted in the order of their expiry'
);

select is(underway._prune(2), 1, 'the next call deletes the rest');

select is(underway._prune(2), 0, 'a call with nothing expired deletes nothing');

select results_eq(
    $$ select task.retention from underway.task_history h join task on task.id = h.id $$,
    array[interval '44 days'],
    'a task whose retention is not over stays'
);

select * from finish();
rollback;
