-- how many more tasks of a key may run that are not parked

begin;
select plan(8);

select underway_test.stop_clock();
select underway.create_queue('email', max_running_per_key => 3);
select underway_test.keyed_tasks('a1 b1 1');
select underway_test.keyed_tasks('a2', priority => 5);
select underway_test.keyed_tasks('a3', priority => -5);

create function pg_temp.turns(key text, priority integer default 0) returns integer language sql as $$
    select underway._key_turns(
        underway_test.lane(priority => turns.priority), underway_test.queue(), turns.key, underway._clock()
    )
$$;

create function pg_temp.park(name text) returns void language sql as $$
    update underway.task set parked = true where input = to_jsonb(park.name);
    insert into underway.parked
    select queue, concurrency_key, priority, ready_at, id from underway.task where input = to_jsonb(park.name)
$$;

select is(pg_temp.turns('a'), 3, 'where nothing of the key is parked, as many as it has room for');
select pg_temp.park('a3');
select is(pg_temp.turns('a'), 3, 'or what is parked has a lower priority');
select is(pg_temp.turns('a', -5), 0, 'none, while one of the same priority is parked, which came first');
select is(pg_temp.turns('b'), 3, 'other keys do not wait for it');
select pg_temp.park('a2');
select is(pg_temp.turns('a'), 0, 'none, while one of a higher priority is parked');
select is(pg_temp.turns('a', 6), 3, 'which does not hold up what comes before it');

-- a fair queue

select underway.create_queue('email', fair => true);
select is(pg_temp.turns('b'), 0, 'none in a fair queue, where all are parked first');
select is(pg_temp.turns(''), 0, 'those without a key, too');

select * from finish();
rollback;
