begin;
select plan(28);

create temporary table woken (queue text) on commit drop;

create or replace function underway._wake(queue text, delay interval default '0')
returns void
language sql
volatile
as 'insert into pg_temp.woken values (_wake.queue)';

create function pg_temp.woken() returns text language sql as $$
    with gone as (delete from pg_temp.woken returning queue) select coalesce(string_agg(queue, ' ' order by queue), '') from gone
$$;

-- parked: tasks of these names are parked, in their order, a second apart.
create function pg_temp.parked(names text, queue text default 'email', priority integer default 0) returns void language sql as $$
    select underway_test.keyed_tasks(parked.names, parked.queue, parked.priority);
    update underway.task t
    set parked = true, ready_at = t.ready_at - interval '1 hour' + given.number * interval '1 second'
    from string_to_table(parked.names, ' ') with ordinality as given (name, number)
    where t.input #>> '{}' = given.name
      and t.queue = parked.queue;
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('sms');

-- which task

select pg_temp.parked('a1 a2 a3 b1');
select pg_temp.woken();
select underway._release_slots('{email}', '{a}');
select is(underway_test.ready(), 'a1', 'for a freed slot the first parked task of its key becomes ready');
select is(pg_temp.woken(), 'email', 'workers of the queue of a freed slot are woken');
select is(
    (select t.ready_at from underway.task t where not t.parked), '2030-01-01 11:00:01+00',
    'a task that was parked keeps its place in the line of its queue'
);
select underway._release_slots('{email,email}', '{a,a}');
select is(underway_test.ready(), 'a1 a2 a3', 'for each freed slot of a key one parked task becomes ready');
select underway._release_slots('{email}', '{a}');
select is(underway_test.parked(), 'b1', 'a key without parked tasks leaves the parked tasks of other keys alone');

select underway_test.no_tasks();
select pg_temp.parked('a1 a2 a3 b1 b2');
select underway._release_slots('{email}', '{a}', 2);
select is(underway_test.ready(), 'a1 a2', 'a task that leaves can free several slots');

select underway_test.no_tasks();
select pg_temp.parked('a1 a2 b1 b2');
select underway._release_slots('{email,email}', '{a,b}');
select is(underway_test.ready(), 'a1 b1', 'slots of several keys are freed in one call');

select underway_test.no_tasks();
select pg_temp.parked('a1 a2');
select pg_temp.parked('a3', 'sms');
select pg_temp.woken();
select underway._release_slots('{sms,sms}', array['a', null]);
select is(underway_test.ready(), 'a3', 'a freed slot of a key makes no task of another queue ready');
select is(pg_temp.woken(), 'sms', 'workers of a queue are woken once for all its freed slots');

-- the order

select underway_test.no_tasks();
select pg_temp.parked('a1');
select pg_temp.parked('a2', priority => 5);
select underway._release_slots('{email}', '{a}');
select is(underway_test.ready(), 'a2', 'a parked task with a higher priority becomes ready first');

select underway_test.no_tasks();
select pg_temp.parked('a1 a2');
update underway.task set ready_at = '2030-01-01 13:00:00+00' where input = '"a1"';
select underway._release_slots('{email}', '{a}');
select is(underway_test.ready(), 'a2', 'a parked task that is due becomes ready before one that is not');
select underway._release_slots('{email}', '{a}');
select is(
    (select t.ready_at from underway.task t where t.input = '"a1"' and not t.parked), '2030-01-01 13:00:00+00',
    'a parked task that is not due is unparked and stays delayed'
);

-- without a key

select underway_test.no_tasks();
select pg_temp.parked('a1');
select pg_temp.woken();
select underway._release_slots('{email}', array[null]::text[]);
select is(underway_test.parked(), 'a1', 'a task without a key makes no parked task ready');
select is(pg_temp.woken(), '', 'no worker is woken where no task can start that could not before');
select underway.create_queue('email', max_running => 5);
select pg_temp.woken();
select underway._release_slots('{email}', array[null]::text[]);
select is(pg_temp.woken(), 'email', 'workers are woken for a freed slot of a queue with max_running');
select underway.create_queue('email', max_running => 0);
select pg_temp.woken();
select underway._release_slots('{}', '{}');
select is(pg_temp.woken(), '', 'no worker is woken when nothing was freed');

-- the lock of the key

create function pg_temp.key_locks() returns bigint language sql as $$
    select count(*)
    from pg_locks l
    where l.locktype = 'advisory'
      and l.pid = pg_backend_pid()
      and l.mode = 'ShareLock'
      and (l.classid::bigint << 32 | l.objid::bigint) in (
          select underway._key_lock('locked', key) from unnest('{a,b}'::text[]) key
      )
$$;

select underway.create_queue('locked');
select is(pg_temp.key_locks(), 0::bigint, 'no lock of a key is held before a slot is freed');
select underway._release_slots('{locked,locked,locked}', array['a', null, 'a']);
select is(pg_temp.key_locks(), 1::bigint, 'the lock of a key is shared by the transaction that frees its slots');
select underway._release_slots('{locked,locked}', '{a,b}');
select is(pg_temp.key_locks(), 2::bigint, 'the lock of each key is shared');

-- a fair queue: one ready task of a key

select underway_test.no_tasks();
select underway.create_queue('email', fair => true, max_running_per_key => 5);
select pg_temp.parked('a1 a2 a3 b1');
select underway._release_slots('{email,email}', '{a,a}', 5);
select is(underway_test.ready(), 'a1', 'in a fair queue one task of a key becomes ready for all its freed slots');
select is(
    (select t.ready_at from underway.task t where not t.parked), '2030-01-01 12:00:00.000001+00',
    'in a fair queue a task that becomes ready goes to the back of the line'
);
select underway_test.advance_clock('1 second');
select underway._release_slots('{email}', '{a}');
select is(underway_test.ready(), 'a1', 'in a fair queue no task of a key becomes ready while another is');
update underway.task set ready_at = '2030-01-01 13:00:00+00' where input = '"a1"';
select underway._release_slots('{email}', '{a}');
select is(underway_test.ready(), 'a1 a2', 'in a fair queue a task that is not due does not hold up the next one of its key');

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1', priority => -1);
select pg_temp.parked('a2 a3', priority => 5);
select underway._release_slots('{email}', '{a}');
select is(underway_test.ready(), 'a1 a2', 'in a fair queue a ready task does not hold up a task of its key with a higher priority');
select underway_test.advance_clock('1 second');
select underway._release_slots('{email}', '{a}');
select is(underway_test.ready(), 'a1 a2', 'in a fair queue a ready task holds up the tasks of its key with the same priority');
select pg_temp.parked('a4', priority => 0);
select underway._release_slots('{email}', '{a}');
select is(underway_test.ready(), 'a1 a2', 'in a fair queue a ready task holds up the tasks of its key with a lower priority');

-- nothing is claimed twice

select underway_test.no_tasks();
select underway.create_queue('email', fair => false, max_running_per_key => 1);
select underway_test.keyed_tasks('a1 a2 a3');
select is(underway_test.claimed(), 'a1', 'the first task of a key is claimed');
select underway._release_slots('{email}', '{a}', 2);
select is(underway_test.claimed(), '', 'a task that was made ready without a free slot is not claimed');

select * from finish();
rollback;
