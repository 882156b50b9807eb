-- leases that lapse

begin;
select plan(26);

select underway_test.stop_clock();

select underway.create_queue(
    'email', heartbeat => '30 seconds',
    retry_policy => underway.retry_policy(max_attempts => 3, initial_interval => '8 seconds', jitter => 0)
);

create temp table held as select * from underway_test.held_task(attempt => 2);
create temp table pending as select underway_test.ready_task() as id;

select underway_test.advance_clock('29.999999 seconds');

select is(underway._reclaim(everything => true), 0, 'a lease that has not lapsed is left alone');
select is(underway_test.state_of(held.id), 'in_progress', 'a task whose lease has not lapsed continues to run') from held;

select underway_test.advance_clock('0.000001 seconds');

select is(underway._reclaim(everything => true), 1, 'a lease is taken back the moment it lapses, and counted');

select results_eq(
    $$ select i.state::text, i.attempt, i.ready_at, i.started_at, i.lease_expires_at from held, underway.task_info(held.id) i $$,
    $$ values ('pending', 2, '2030-01-01 12:00:46+00'::timestamptz, null::timestamptz, null::timestamptz) $$,
    'a task with attempts left is pending after the backoff of the attempt that lapsed'
);

select is(
    (select t.lease from underway.task t join held on held.id = t.id), null,
    'a reclaimed task has no lease'
);

select is(
    i.errors -> 0,
    jsonb_build_object(
        'type', 'LeaseLapsed',
        'message', format('lease lapsed: worker unknown did not renew it until %s', '2030-01-01 12:00:30+00'::timestamptz),
        'attempt', 2,
        'started_at', '2030-01-01 12:00:00+00'::timestamptz,
        'failed_at', '2030-01-01 12:00:30+00'::timestamptz
    ),
    'the lapse is kept as the error of the attempt'
)
from held, underway.task_info(held.id) i;

select is(underway_test.state_of(pending.id), 'pending', 'a pending task has nothing to reclaim') from pending;

select is(underway._reclaim(everything => true), 0, 'a reclaimed task is not reclaimed again');

-- the last attempt

select underway_test.advance_clock('16 seconds');

create temp table last_held as
select claimed.id, claimed.lease, claimed.attempt from underway.dequeue('email', 2) claimed where claimed.id = (select held.id from held);

select underway.create_queue('letters');
select underway.create_queue('email', dead_letter_queue => 'letters');
select underway_test.advance_clock('1 hour');

select is(underway._reclaim(everything => true), 2, 'one call reclaims all lapsed tasks');

select is(i.state::text, 'failed', 'a task whose last attempt lapses has failed')
from last_held, underway.task_info(last_held.id) i;

select is(
    (select array_agg((error ->> 'type') || ' ' || (error ->> 'attempt')) from jsonb_array_elements(i.errors) as error),
    array['LeaseLapsed 2', 'LeaseLapsed 3'],
    'every lapse is in its errors'
)
from last_held, underway.task_info(last_held.id) i;

select matches(i.errors #>> '{-1,message}', '^lease lapsed', 'the reason is that the lease lapsed')
from last_held, underway.task_info(last_held.id) i;

select is(
    (select (t.dead_letter ->> 'task')::bigint from underway.task t where t.queue = 'letters'), last_held.id,
    'a reclaimed task that has failed leaves a dead letter'
)
from last_held;

-- a healthy task that runs far longer than its lease

create temp table healthy as select * from underway_test.held_task('healthy');

create function pg_temp.a_minute_with_heartbeats() returns integer language plpgsql as $$
declare
    v_reclaimed integer := 0;
begin
    for v_beat in 1..6 loop
        perform underway_test.advance_clock('10 seconds');
        perform from healthy, underway.heartbeat(array[healthy.id], array[healthy.lease]);
        v_reclaimed := v_reclaimed + underway._reclaim(everything => true);
    end loop;
    return v_reclaimed;
end;
$$;

select is(
    (select sum(pg_temp.a_minute_with_heartbeats()) from generate_series(1, 10)), 0::bigint,
    'a task whose lease is renewed is never reclaimed'
);

select is(underway_test.state_of(healthy.id), 'in_progress', 'a task with heartbeats runs for twenty times its lease') from healthy;

-- the name of the worker

select underway_test.advance_clock('1 day');
select underway._reclaim(everything => true);

select underway_test.ready_task('named');
create temp table worker as select underway.register_worker('crow', array['named']) as id;
select underway_test.ready_task('unnamed');
select from underway.dequeue('named', 1, (select worker.id from worker));
select from underway.dequeue('unnamed', 1, 987654321);
select underway_test.advance_clock('1 minute');
select underway._reclaim(everything => true);

select matches(
    (select t.errors #>> '{-1,message}' from underway.task t where t.queue = 'named'),
    '^lease lapsed: worker crow did not renew',
    'a worker that is known is named'
);

select matches(
    (select t.errors #>> '{-1,message}' from underway.task t where t.queue = 'unnamed'),
    '^lease lapsed: worker 987654321 did not renew',
    'a worker that is forgotten is named by its id'
);

-- leases that lapsed long ago

create temp table lapsed as select * from underway_test.held_task('long_ago');
select underway_test.advance_clock('10 minutes 31 seconds');

select is(
    underway._reclaim(everything => false), 0, 'most calls read only the leases that lapsed in the last ten minutes'
);

select is(underway._reclaim(everything => true), 1, 'some calls read all leases');

-- at most so many, those that lapsed first

create temp table lapsing as
select heartbeat.place, underway_test.held_task('heartbeat ' || heartbeat.place) as task
from (
    select place, underway.create_queue('heartbeat ' || place, heartbeat => length) as created
    from unnest(array['2 minutes', '1 minute', '3 minutes']::interval[]) with ordinality as given (length, place)
) as heartbeat;

select underway_test.advance_clock('1 hour');

select is(underway._reclaim(0, everything => true), 0, 'a limit of zero reclaims nothing');

select is(underway._reclaim(1, everything => true), 1, 'a limit of one reclaims one task');

select is(
    array_agg(underway_test.state_of((lapsing.task).id) order by lapsing.place),
    array['in_progress', 'pending', 'in_progress'],
    'the lease that lapsed first is taken back first'
)
from lapsing;

select is(underway._reclaim(1, everything => true), 1, 'the next call takes back one more');

select is(
    array_agg(underway_test.state_of((lapsing.task).id) order by lapsing.place),
    array['pending', 'pending', 'in_progress'],
    'the next call reclaims the task that lapsed next'
)
from lapsing;

select underway._reclaim(everything => true);

-- it needs no worker, no running queue

create temp table paused as select * from underway_test.held_task('paused');
select underway.pause_queue('paused');
select underway_test.advance_clock('1 hour');
select underway._reclaim(everything => true);

select is(underway_test.state_of(paused.id), 'pending', 'leases lapse in a paused queue too') from paused;

create temp table waiting as select underway_test.ready_task('paused') as id;
update underway.task t set state = 'waiting' where t.id = (select waiting.id from waiting);
select underway_test.advance_clock('1 year');

select is(underway._reclaim(everything => true), 0, 'a waiting task has no lease that could lapse');

select * from finish();
rollback;
