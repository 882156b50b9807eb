begin;
select plan(17);

-- parked: tasks of these names are parked, as if the slots of their keys were freed and nobody had seen them.
create function pg_temp.parked(names text, queue text default 'email') returns void language sql as $$
    select underway_test.keyed_tasks(parked.names, parked.queue);
    update underway.task t set parked = true where t.input #>> '{}' = any (string_to_array(parked.names, ' '));
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('sms', max_running_per_key => 2);

select is(
    underway._repair_parked('', '', 100)::text, '("","")', 'without parked tasks the walk over the keys ends at once'
);

-- free slots

select underway_test.keyed_tasks('a1 b1');
select is(underway_test.claimed(1), 'a1', 'a task of a key runs');
select pg_temp.parked('a2 a3 b2 c1 c2'), pg_temp.parked('d1 d2 d3', 'sms');
select is(underway._repair_parked('', '', 100)::text, '("","")', 'the walk ends after the last key');
select is(
    underway_test.ready(), 'b1 c1 d1 d2',
    'of each key as many tasks become ready as it has slots for which no task runs and none is ready'
);
select is(underway_test.parked(), 'a2 a3 b2 c2 d3', 'the tasks of full keys stay parked');
select underway._repair_parked('', '', 100);
select is(underway_test.parked(), 'a2 a3 b2 c2 d3', 'a second walk makes no more tasks ready');

-- ready tasks that are not due

update underway.task set ready_at = '2030-01-01 13:00:00+00' where input = '"b1"';
select underway._repair_parked('', '', 100);
select is(underway_test.parked(), 'a2 a3 c2 d3', 'a delayed task does not count as the ready task of its key');

-- paused keys and tokens

select underway_test.no_tasks();
select pg_temp.parked('a1 b1');
select underway.pause_key('email', 'a');
select underway._repair_parked('', '', 100);
select is(underway_test.parked(), 'a1', 'the tasks of a paused key stay parked');
delete from underway.paused_key;

select underway_test.no_tasks();
select pg_temp.parked('a1 b1');
select underway.create_queue('email', rate_limit_per_key => 1, rate_period => '1 hour');
update underway.task set parked = true;
select underway._take_tokens(underway_test.queue(), underway._clock(), 1, 'a');
select underway._repair_parked('', '', 100);
select is(underway_test.parked(), 'a1', 'the tasks of a key without tokens stay parked');
select underway.create_queue('email', rate_limit_per_key => 0);

-- a part of the keys

select underway_test.no_tasks();
select pg_temp.parked('a1 b1 c1'), pg_temp.parked('a2', 'sms');
select is(underway._repair_parked('', '', 2)::text, '(email,b)', 'the last key that was checked is returned');
select is(underway_test.ready(), 'a1 b1', 'at most so many keys are checked');
select is(underway._repair_parked('email', 'b', 2)::text, '(sms,a)', 'the next walk goes on behind the given key, in the next queue too');
select is(underway_test.ready(), 'a1 b1 c1 a2', 'the next walk makes tasks of the next keys ready');
select is(underway._repair_parked('sms', 'a', 2)::text, '("","")', 'a walk that finds no more keys starts again next time');

-- a queue that was dropped

select underway_test.no_tasks();
select pg_temp.parked('b1', 'sms');
insert into underway.task (queue, priority, ready_at, enqueued_at, concurrency_key, parked, input)
select 'dropped', 0, underway._clock(), underway._clock(), key, true, '1' from unnest('{a,b}'::text[]) key;
select is(
    underway._repair_parked('', '', 2)::text, '(dropped,b)', 'parked tasks of a dropped queue do not end the walk over the keys'
);

-- a fair queue

select underway_test.no_tasks();
select underway.create_queue('email', fair => true, max_running_per_key => 5);
select pg_temp.parked('a1 a2 a3 b1');
select underway._repair_parked('', '', 100);
select is(underway_test.ready(), 'a1 b1', 'in a fair queue one task of each key becomes ready');
select underway_test.advance_clock('1 second');
select underway._repair_parked('', '', 100);
select is(underway_test.ready(), 'a1 b1', 'in a fair queue no task of a key becomes ready while another is');

select * from finish();
rollback;
