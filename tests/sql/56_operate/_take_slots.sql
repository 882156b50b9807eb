begin;
select plan(5);

create function pg_temp.holders() returns text language sql as $$
    select coalesce(string_agg(t.input #>> '{}', ' ' order by t.id), '') from underway.task t where t.holds_slot
$$;

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.create_queue('sms');
select underway_test.keyed_tasks('1 a1 a2 2');
select underway_test.keyed_tasks('3', 'sms');
select underway_test.claimed(2), underway_test.claimed(1, 'sms');

select is(pg_temp.holders(), '', 'running tasks of queues without max_running hold no slots');
select underway._take_slots('email');
select is(pg_temp.holders(), '1 a1', 'the running tasks of the queue hold slots, and pending tasks do not');

create temporary table before on commit drop as select t.id, t.ctid as version from underway.task t;
select underway._take_slots('email');
select results_eq(
    'select id, ctid from underway.task order by id', 'select id, version from before order by id',
    'tasks that hold slots already are not written again'
);
select underway._take_slots('nowhere');
select is(pg_temp.holders(), '1 a1', 'a queue that does not exist takes no slots');

select underway_test.done('1');
select is(pg_temp.holders(), 'a1', 'a task frees the slot that it was given while it ran');

select * from finish();
rollback;
