begin;
select plan(14);

-- park: these tasks, while the claim has taken those, are parked where their key is full; the keys are returned.
create function pg_temp.park(names text, taken text default '') returns text language sql as $$
    select array_to_string(
        array(
            select unnest(underway._park(
                underway_test.queue(), underway_test.candidates(park.names), array(select c.key from unnest(underway_test.candidates(park.taken)) c),
                underway._clock()
            )) order by 1
        ), ' '
    )
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

-- full keys

select underway_test.keyed_tasks('a1 b1');
select underway_test.claimed();
select underway_test.keyed_tasks('a2 a3 b2 c1 c2');
update underway.task set enqueued_at = enqueued_at - interval '1 hour';
select is(pg_temp.park('a2 b2 c1'), 'a b', 'the keys of which tasks were parked are returned');
select is(underway_test.parked(), 'a2 b2', 'the given tasks of full keys are parked');
select is(underway_test.ready(), 'a3 c1 c2', 'tasks that are not given, and tasks of keys with a free slot, stay ready');
select is(pg_temp.park('c2', taken => 'c1'), 'c', 'a task that the claim has taken fills its key');
select is(underway_test.parked(), 'a2 b2 c2', 'a task of a key that the claim has filled is parked');
select is(pg_temp.park('a2'), '', 'a task that is parked already is not parked again');
select is(
    (select count(distinct t.ready_at) from underway.task t), 1::bigint, 'a parked task keeps the time since when it is ready'
);

-- tasks that have changed since they were read

select is(
    underway._park(
        underway_test.queue(), array(select row(t.ctid, t.concurrency_key, t.ready_at, t.id + 1)::underway.claim_candidate
            from underway.task t where t.input = '"a3"'), '{}', underway._clock()
    ),
    '{}', 'a ctid that holds another task is not parked'
);
select is(
    underway._park(
        underway_test.queue(), array(select row(t.ctid, 'b', t.ready_at, t.id)::underway.claim_candidate
            from underway.task t where t.input = '"a3"'), '{}', underway._clock()
    ),
    '{}', 'a task that has another key than was read is not parked'
);
select is(pg_temp.park('a1'), '', 'a running task is not parked');

-- paused keys, and keys without tokens

select underway_test.no_tasks();
select underway_test.keyed_tasks('p1 r1');
select underway.pause_key('email', 'p');
select is(pg_temp.park('p1 r1'), 'p', 'a task of a paused key is parked');
select underway.create_queue('email', rate_limit_per_key => 1, rate_period => '1 hour');
select underway._take_tokens(underway_test.queue(), underway._clock(), 1, 'r');
select is(pg_temp.park('r1'), 'r', 'a task of a key without tokens is parked');

-- the place of a task of a fair queue

select underway_test.no_tasks();
select underway.create_queue('email', rate_limit_per_key => 0, fair => true);
select underway_test.keyed_tasks('a1');
select underway_test.claimed();
select underway_test.keyed_tasks('a2 a3');
update underway.task set ready_at = ready_at + interval '1 minute' where input = '"a2"';
update underway.task set ready_at = ready_at - interval '1 minute' where input = '"a3"';
select underway_test.advance_clock('1 minute');
select is(pg_temp.park('a2 a3'), 'a', 'tasks of a full key of a fair queue are parked');
select results_eq(
    $$ select t.input #>> '{}', t.ready_at from underway.task t where t.parked order by t.id $$,
    $$ values ('a2', '2030-01-01 12:00:00+00'::timestamptz), ('a3', '2030-01-01 11:59:00+00') $$,
    'a parked task of a fair queue loses the time of its turn and keeps its place among the tasks of its key'
);

select * from finish();
rollback;
