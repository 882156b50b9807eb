begin;
select plan(17);

-- parked: tasks of these names are parked, in their order, a second apart.
create function pg_temp.parked(names text, queue text default 'email', priority integer default 0) returns void language sql as $$
    select underway_test.keyed_tasks(parked.names, parked.queue, parked.priority);
    update underway.task t
    set parked = true, ready_at = t.ready_at - interval '1 hour' + given.number * interval '1 second'
    from string_to_table(parked.names, ' ') with ordinality as given (name, number)
    where t.input #>> '{}' = given.name
      and t.queue = parked.queue;
$$;

create function pg_temp.times() returns text language sql as $$
    select string_agg(
        format('%s %s', t.input #>> '{}', to_char(t.ready_at at time zone 'UTC', 'HH24:MI:SS.US')), ', '
        order by t.ready_at, t.id
    )
    from underway.task t
    where not t.parked
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('sms');

select pg_temp.parked('a1 a2 a3 b1 b2'), pg_temp.parked('c1 c2', 'sms');
select is(
    underway._unpark('{email,email,sms}', '{a,b,c}', '{2,1,1}'), 4, 'the number of tasks that became ready is returned'
);
select is(underway_test.ready(), 'a1 a2 b1 c1', 'of each key as many tasks become ready as were given for it');
select is(
    pg_temp.times(), 'a1 11:00:01.000000, c1 11:00:01.000000, a2 11:00:02.000000, b1 11:00:04.000000',
    'tasks that become ready keep their places in the line'
);
select is(underway._unpark('{email,email}', '{a,x}', '{5,5}'), 1, 'a key gives no more tasks than it has parked');
select is(underway_test.parked(), 'b2 c2', 'the parked tasks of other keys stay parked');
select is(underway._unpark('{email}', '{b}', '{0}'), 0, 'no task becomes ready for no slots');
select is(
    underway._unpark('{email}', '{b}', '{1}', array[underway_test.named('b2')]), 0, 'an excluded task stays parked'
);

-- the order of a key

select underway_test.no_tasks();
select pg_temp.parked('a1 a2 a3'), pg_temp.parked('a4', priority => 5), pg_temp.parked('a5', priority => -5);
update underway.task set ready_at = '2030-01-01 13:00:00+00' where input = '"a1"';
select underway._unpark('{email}', '{a}', '{4}');
select is(
    underway_test.parked(), 'a1', 'tasks that are due become ready before one that is not, whatever their priority'
);
select underway_test.no_tasks();
select pg_temp.parked('a1 a2'), pg_temp.parked('a4', priority => 5), pg_temp.parked('a5', priority => -5);
select underway._unpark('{email}', '{a}', '{2}');
select is(underway_test.ready(), 'a1 a4', 'of the tasks that are due those with the highest priority become ready first');

-- the watermark

select underway_test.no_tasks();
select pg_temp.parked('a1');
insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, '2030-01-01 11:30:00+00', '2030-01-01 11:45:00+00', '{}');
select underway._unpark('{email}', '{a}', '{1}');
select is(pg_temp.times(), 'a1 11:30:00.000000', 'a task that becomes ready is not placed before the watermark');
select is(underway_test.claimed(), 'a1', 'a task that became ready at the watermark is claimed');

-- a fair queue

select underway_test.no_tasks();
select underway.create_queue('email', fair => true);
select pg_temp.parked('a1 a2 b1 b2');
select underway._unpark('{email,email}', '{b,a}', '{1,1}');
select is(
    pg_temp.times(), 'b1 12:00:00.000001, a1 12:00:00.000002',
    'in a fair queue tasks go to the back of the line, in the order of the given keys'
);
update underway.task set ready_at = '2030-01-01 13:00:00+00' where input = '"a2"';
select underway._unpark('{email}', '{a}', '{1}');
select is(
    pg_temp.times(), 'b1 12:00:00.000001, a1 12:00:00.000002, a2 13:00:00.000000',
    'in a fair queue a task that is not due keeps its time'
);
select is(underway._unpark('{}', '{}', '{}'), 0, 'no task becomes ready for no keys');
select is(underway_test.parked(), 'b2', 'the other task of a key of a fair queue stays parked');

-- the watermark was written while the clock was ahead

select underway_test.no_tasks();
select underway.create_queue('email', fair => false);
select pg_temp.parked('a1 b1');
update underway.task set ready_at = '2030-01-01 13:00:00+00' where input = '"a1"';
insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, '2030-01-01 12:30:00+00', '2030-01-01 12:30:00+00', '{}');
select underway._unpark('{email,email}', '{a,b}', '{1,1}');
select is(underway_test.claimed(), 'b1', 'after the clock was put back a task that is not due is not claimed');
select is(
    pg_temp.times(), 'b1 11:00:02.000000, a1 13:00:00.000000',
    'after the clock was put back a task that is not due keeps its time'
);

select * from finish();
rollback;
