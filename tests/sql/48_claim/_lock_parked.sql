-- parked tasks whose keys are free are locked for a claim

begin;
select plan(14);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', max_running_per_key => 2);

create function pg_temp.locked(max_tasks integer default 100, priority integer default 0) returns text language sql as $$
    with locked as (
        select underway._lock_parked(
            underway_test.lane(priority => locked.priority), underway_test.queue(), underway._clock(), locked.max_tasks
        ) as rows
    )
    select coalesce(string_agg(t.input #>> '{}', ' ' order by array_position(locked.rows, t.ctid)), '')
    from locked
    join underway.task t on t.ctid = any (locked.rows)
$$;

create function pg_temp.park_all() returns void language sql as $$
    update underway.task set parked = true;
    insert into underway.parked
    select queue, coalesce(concurrency_key, ''), priority, ready_at, id from underway.task where parked
$$;

-- a queue that is not fair

select underway_test.keyed_tasks('a1 a2 a3 b1 b2');
select pg_temp.park_all();
select is(pg_temp.locked(), '', 'what nobody has noted is not looked at');
select underway._free_keys('{}', '{email}', '{b}');
select underway._free_keys('{}', '{email}', '{a}');
select is(pg_temp.locked(1), 'a1', 'of free keys the task that was ready first is taken');
select is(underway_test.line(), 'b a', 'the line is as it was');
select is(pg_temp.locked(), 'a2 b1 b2', 'then as many as may run');
select is(underway_test.line(), '', 'what is full is noted no longer');
select is(pg_temp.locked(), '', 'and so nothing is left');
select is((select count(*) from underway.running), 4::bigint, 'what is taken counts');
select is((select count(*) from underway.parked), 1::bigint, 'and waits no longer');

-- a fair queue

select underway_test.no_tasks();
select underway.create_queue('email', fair => true, max_running_per_key => 100);
select underway_test.keyed_tasks('a1 a2 a3 a4 a5 a6 b1 b2 b3 1 2');
select is(pg_temp.locked(1), 'a1', 'in a fair queue the first key in line gives a task');
select is(underway_test.line(), 'b - a', 'and goes to its end');
select is(pg_temp.locked(5), 'b1 1 a2 b2 2', 'of several each key gives one after the other in turn');
select is(underway_test.line(), 'a b', 'the key that was served last stands last; one that has no more is not in line');
select is(pg_temp.locked(2), 'a3 b3', 'so each key is served again in its turn');

-- a task that somebody else takes away

select underway.reschedule(underway_test.named('a5'), '2030-01-01 13:00:00+00');
insert into underway.parked values ('email', 'a', 0, '2030-01-01 11:00:00+00', underway_test.named('a5'));
select is(pg_temp.locked(1), '', 'a task that is parked no longer is left alone');

select * from finish();
rollback;
