-- tasks that may not run now go out of the way

begin;
select plan(13);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

create function pg_temp.park(names text) returns void language sql as $$
    select underway._park(
        underway_test.lane(), underway_test.queue(),
        array(select seen.place from unnest(underway_test.seen(park.names)) seen),
        underway._clock(), underway._clock()
    )
$$;

create function pg_temp.rows() returns text language sql as $$
    select coalesce(string_agg(p.concurrency_key || ':' || (t.input #>> '{}'), ' ' order by t.id), '')
    from underway.parked p
    join underway.task t on t.id = p.task
    where (p.queue, p.priority, p.ready_at) = (t.queue, t.priority, t.ready_at)
$$;

-- put off just now

select underway_test.keyed_tasks('a1 a2');
select underway_test.claimed(1);
select underway.reschedule(underway_test.named('a2'), '2030-01-01 13:00:00+00');
select pg_temp.park('a2');
select is(underway_test.parked(), '', 'what has been put off since it was seen is left alone');
select underway_test.no_tasks();

-- a queue that is not fair

select underway_test.keyed_tasks('a1');
select underway_test.claimed(1);
select underway_test.keyed_tasks('a2 a3 b1 b2 1');
select pg_temp.park('a2 b1 1');
select is(underway_test.parked(), 'a2', 'a task whose key is taken is parked; one whose key has room is not');
select is(pg_temp.rows(), 'a:a2', 'and has its row');
select is(underway_test.line(), '', 'nothing is noted: nobody may take it');
select pg_temp.park('a1 a2 a3');
select is(pg_temp.rows(), 'a:a2 a:a3', 'what runs, or is parked already, is left as it is');
select is(underway_test.state_of(underway_test.named('a1')), 'in_progress', 'in any state');

-- tokens

select underway.create_queue('email', rate_limit_per_key => 6, rate_period => '1 minute');
select underway._take_tokens(underway_test.queue(), underway._clock(), 6, 'b');
select pg_temp.park('b1 b2');
select is(pg_temp.rows(), 'a:a2 a:a3 b:b1 b:b2', 'what waits for a token of its key is parked as well');
select is(
    (select f.check_at from underway.ready_key f where f.concurrency_key = 'b'), '2030-01-01 12:00:10+00',
    'and it is noted when the token comes'
);

-- a fair queue

select underway_test.no_tasks();
select underway.create_queue('email', rate_limit_per_key => 0, fair => true);
update underway.queue set fair = false;
select underway_test.keyed_tasks('b1 a1 2 a2 3');
update underway.queue set fair = true;
select pg_temp.park('b1 a1 2 a2');
select is(underway_test.parked(), 'b1 a1 2 a2', 'in a fair queue all are parked');
select is(pg_temp.rows(), 'b:b1 a:a1 :2 a:a2', 'those that have no key with the empty one');
select is(underway_test.line(), '- a b', 'and each key is noted');
select pg_temp.park('3');
select is(underway_test.line(), '- a b', 'once');
select underway_test.no_tasks();
select pg_temp.park('3');
select is(pg_temp.rows() || underway_test.line(), '', 'where nothing is left to park, nothing is noted');

select * from finish();
rollback;
