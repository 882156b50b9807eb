-- new tasks of a fair queue stand in line at once

begin;
select plan(6);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway_test.keyed_tasks('b1 a1 1 a2');
update underway.task set parked = true;

create function pg_temp.park_new(names text) returns void language sql as $$
    select underway._park_new(array(select seen.id from unnest(underway_test.seen(park_new.names)) seen))
$$;

create function pg_temp.rows() returns text language sql as $$
    select coalesce(string_agg(p.concurrency_key || ':' || (t.input #>> '{}'), ' ' order by t.id), '')
    from underway.parked p
    join underway.task t on t.id = p.task
    where (p.queue, p.priority, p.ready_at) = (t.queue, t.priority, t.ready_at)
$$;

select pg_temp.park_new('b1');
select is(pg_temp.rows(), 'b:b1', 'a new task waits for the turn of its key');
select is(underway_test.line(), 'b', 'which is noted');
select pg_temp.park_new('a1 a2');
select pg_temp.park_new('1');
select is(pg_temp.rows(), 'b:b1 a:a1 :1 a:a2', 'several do, with a key or without');
select is(underway_test.line(), 'b a -', 'in the line of keys they stand once');
select underway._park_new('{}');
select is(pg_temp.rows(), 'b:b1 a:a1 :1 a:a2', 'of no tasks nothing is parked');
select is(underway_test.line(), 'b a -', 'and nothing noted');

select * from finish();
rollback;
