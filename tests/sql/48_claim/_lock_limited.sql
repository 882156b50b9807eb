-- of each key so many tasks run as its queue allows

begin;
select plan(25);

select underway_test.stop_clock();
select underway.create_queue('email');

-- one at a time

select underway_test.keyed_tasks('a1 a2 1 b1 a3 2');

select is(underway_test.claimed(), 'a1 1 b1 2', 'a claim takes one task of each key, and all that have none');
select is(underway_test.parked(), 'a2 a3', 'what waits for its key is parked');
select is(underway_test.claimed(), '', 'while a task of the key runs, no other is claimed');
select is(
    (select count(*) from underway.task where limited), 4::bigint, 'what is claimed from a queue with keys is counted'
);

select underway_test.done('a1');
select is(underway_test.claimed(), 'a2', 'when it has finished, the next is claimed');
select is(underway_test.parked(), 'a3', 'which is parked no longer');
select underway_test.done('a2 b1');
select is(underway_test.claimed(), 'a3', 'and so on, one by one');
select underway_test.done('a3 1 2');
select is_empty('select from underway.task', 'until all are done');

-- several at a time

select underway.create_queue('sms', max_running_per_key => 3);
select underway_test.keyed_tasks('a1 a2 b1 a3 a4 a5', 'sms');

select is(underway_test.claimed(2, 'sms'), 'a1 a2', 'a claim takes as many of a key as it asks for');
select is(underway_test.parked(), '', 'nothing is parked while its key has room');
select is(underway_test.claimed(100, 'sms'), 'b1 a3', 'a queue may let several of a key run');
select is(underway_test.parked(), 'a4 a5', 'those beyond wait');
select underway_test.done('a1 a3');
select is(underway_test.claimed(1, 'sms'), 'a4', 'a claim of one leaves the rest of the room');
select is(underway_test.claimed(100, 'sms'), 'a5', 'to the next claim');

-- keys of several queues

select underway.create_queue('letter');
select underway_test.keyed_tasks('a1 a2', 'letter');
select is(underway_test.claimed(100, 'letter'), 'a1', 'what runs in one queue takes no room from the key in another');
select is(underway_test.claimed(100, 'sms'), '', 'nor gives it any');
select underway_test.done('a2');
select is(underway_test.claimed(100, 'letter'), '', 'nor does what finishes there');

-- lowered and raised

select underway.create_queue('sms', max_running_per_key => 1);
select underway_test.keyed_tasks('a6 a7 a8', 'sms');
select is(underway_test.claimed(100, 'sms'), '', 'where more run than a lower limit allows, none is claimed');
select underway_test.done('a4 a5');
select is(underway_test.claimed(100, 'sms'), 'a6', 'until fewer do');
select underway.create_queue('sms', max_running_per_key => 2);
select is(underway_test.claimed(100, 'sms'), 'a7', 'a higher limit lets parked tasks run at once');

-- the function itself

select underway_test.done('a6 a7');

create function pg_temp.locked(max_tasks integer) returns text language sql as $$
    with locked as (
        select underway._lock_limited(
            l, underway_test.queue('sms'), '-infinity', underway._clock(), locked.max_tasks
        ) as rows
        from underway.queue_priority l
        where l.queue = 'sms' and l.priority = 0
    )
    select string_agg(t.input #>> '{}', ' ' order by t.id) from locked, underway.task t where t.ctid = any (locked.rows)
$$;

select underway_test.keyed_tasks('3 4', 'sms');
select is(pg_temp.locked(100), 'a8 3 4', 'what it locks are tasks that are parked, and others');
select is(underway_test.freed('sms'), '', 'a key of which nothing more is parked is forgotten');
delete from underway.running;
select is(pg_temp.locked(2), '3 4', 'at most as many as are asked for');
select is(pg_temp.locked(0), null, 'and of none, none');

-- what has no key

delete from underway.running;
select underway_test.claimed(100, 'sms');
select is(
    (select count(*) from underway.task where queue = 'sms' and concurrency_key is null and limited), 2::bigint,
    'what has no key is counted as well'
);

select * from finish();
rollback;
