-- the holder puts a task back for later

begin;
select plan(18);

select underway_test.stop_clock();

create temp table held as select * from underway_test.held_task(attempt => 3);
create temp table before as select t.* from underway.task t join held on held.id = t.id;
select underway_test.advance_clock('5 seconds');

select is(
    underway.snooze(held.id, held.lease, '1 hour 0.5 seconds'), '2030-01-01 13:00:05.5+00',
    'a holder puts its task back, and is told when it will be ready'
)
from held;

select is(
    (select to_jsonb(t) - 'worker' from underway.task t join held on held.id = t.id),
    (
        select to_jsonb(before) - 'worker' || jsonb_build_object(
            'state', 'pending', 'attempt', 2, 'ready_at', '2030-01-01 13:00:05.5+00'::timestamptz, 'started_at', null,
            'lease', null, 'lease_expires_at', null
        )
        from before
    ),
    'a snoozed task is pending until then, its attempt does not count, and nothing else has changed'
);

select underway_test.stop_clock('2030-01-01 13:00:05.499999+00');

select is_empty($$ select * from underway.dequeue('email') $$, 'a snoozed task is not claimed before its time');

select underway_test.stop_clock('2030-01-01 13:00:05.5+00');

select results_eq(
    $$ select claimed.id, claimed.attempt from underway.dequeue('email') as claimed $$,
    $$ select held.id, 3 from held $$,
    'a snoozed task is claimed at its time, in the same attempt'
);

select throws_ok(
    $$ select underway.snooze(held.id, held.lease, '1 hour') from held $$,
    'UW002', format('task %s is not held under lease %s; it is in_progress', held.id, held.lease),
    'the former holder cannot snooze the task again'
)
from held;

select is(underway_test.state_of(held.id), 'in_progress', 'a refused snooze leaves the task with its new holder') from held;

-- any number of times, in the last attempt too

select underway.create_queue('last', retry_policy => underway.retry_policy(max_attempts => 1));
select underway.enqueue('last');

create function pg_temp.claim_and_snooze(times integer) returns integer language plpgsql as $$
declare
    v_claimed underway.claimed_task;
begin
    for v_time in 1..claim_and_snooze.times loop
        select claimed.* into strict v_claimed from underway.dequeue('last') as claimed;
        perform underway.snooze(v_claimed.id, v_claimed.lease, '1 minute');
        perform underway_test.advance_clock('1 minute');
    end loop;
    return v_claimed.attempt;
end;
$$;

select is(pg_temp.claim_and_snooze(50), 1, 'a task may be put back any number of times, even in its only attempt');

select is_empty(
    $$ select from underway.task t where t.queue = 'last' and t.errors is not null $$,
    'a snooze adds no error to the task'
);

-- delays

create temp table at_once as select * from underway_test.held_task('other');

select is(
    underway.snooze(at_once.id, at_once.lease, '0'), underway._clock(), 'a delay of nothing means at once'
)
from at_once;

create temp table century as select * from underway_test.held_task('other');

select is(
    underway.snooze(century.id, century.lease, '100 years'), underway._clock() + interval '100 years',
    'a hundred years are accepted'
)
from century;

-- order

select underway.create_queue('ordered');
select underway.enqueue('ordered', '"a"');
create temp table first_ as select * from underway.dequeue('ordered');
select underway.enqueue('ordered', '"b"', delay => '1 minute');
select underway.enqueue('ordered', '"c"', delay => '3 minutes');
select underway.snooze(first_.id, first_.lease, '2 minutes') from first_;
select underway_test.advance_clock('5 minutes');

select results_eq(
    $$ select claimed.input #>> '{}' from underway.dequeue('ordered', 3) as claimed $$, array['b', 'a', 'c'],
    'snoozed tasks are ordered by the time at which they become ready'
);

-- refusals

create temp table other as select * from underway_test.held_task();

select throws_ok(
    $$ select underway.snooze(other.id, gen_random_uuid(), '1 minute') from other $$, 'UW002', null,
    'a wrong lease is refused'
);

select throws_ok(
    $$ select underway.snooze(other.id, null, '1 minute') from other $$, 'UW002', null,
    'a lease that is null is refused'
);

select throws_ok(
    $$ select underway.snooze(other.id, other.lease, null) from other $$, 'UW001', 'delay is null',
    'a delay that is null is refused'
);

select matches(
    underway_test.hint_of('select underway.snooze(other.id, other.lease, null) from other'), 'underway\.release',
    'the hint names the function that gives it back at once'
);

select throws_ok(
    $$ select underway.snooze(other.id, other.lease, '-1 second') from other $$, 'UW001', 'delay is -00:00:01',
    'a negative delay is refused with its value'
);

select throws_ok(
    $$ select underway.snooze(other.id, other.lease, '101 years') from other $$, 'UW001', 'delay is 101 years',
    'a delay that nobody will see is refused'
);

select is(underway_test.state_of(other.id), 'in_progress', 'a refused snooze leaves the task running') from other;

select * from finish();
rollback;
