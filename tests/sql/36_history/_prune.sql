-- finished tasks are forgotten when their time is over

begin;
select plan(16);

select underway_test.stop_clock('2030-01-01 12:00:00+00');

create function pg_temp.finished_with_ttl(retention interval) returns bigint language plpgsql as $$
declare
    v_held underway_test.held := underway_test.held_task();
begin
    update underway.task t set retention = finished_with_ttl.retention where t.id = v_held.id;
    perform underway.complete(v_held.id, v_held.lease);
    return v_held.id;
end;
$$;

create temp table task as
select retention.length as retention, pg_temp.finished_with_ttl(retention.length::interval) as id
from unnest(array['0', '1 day', '14 days', '19 days', '20 days', '29 days', '30 days', '31 days', '400 days']) as retention (length);

create temp table unfinished as select underway_test.ready_task('never') as id;

-- a day after another, pruned three times a day, as maintain does all the time

create function pg_temp.live_until(until timestamptz) returns void language plpgsql as $$
begin
    while underway._clock() < live_until.until loop
        perform underway._prune();
        perform underway_test.advance_clock('8 hours');
    end loop;
    perform underway._prune();
end;
$$;

create function pg_temp.ttls_kept() returns text[] language sql as $$
    select array(
        select task.retention from task where exists (select from underway.task_info(task.id)) order by task.retention::interval
    )
$$;

select pg_temp.live_until('2030-01-01 20:00:00+00');

select is(
    pg_temp.ttls_kept(),
    array['0', '1 day', '14 days', '19 days', '20 days', '29 days', '30 days', '31 days', '400 days'],
    'pruning on the day of the finish takes nothing from the ring'
);

select pg_temp.live_until('2030-01-02 20:00:00+00');

select is(
    pg_temp.ttls_kept(),
    array['0', '1 day', '14 days', '19 days', '20 days', '29 days', '30 days', '31 days', '400 days'],
    'pruning on the day after takes nothing either, because a session may still write to that day'
);

select pg_temp.live_until('2030-01-03 04:00:00+00');

select is(
    pg_temp.ttls_kept(), array['1 day', '14 days', '19 days', '20 days', '29 days', '30 days', '31 days', '400 days'],
    'a task with a retention of zero is deleted on the second day'
);

select pg_temp.live_until('2030-01-04 04:00:00+00');

select is(
    pg_temp.ttls_kept(), array['14 days', '19 days', '20 days', '29 days', '30 days', '31 days', '400 days'],
    'a task with a retention of one day is deleted a day later'
);

select pg_temp.live_until('2030-01-15 04:00:00+00');

select is(
    pg_temp.ttls_kept(), array['14 days', '19 days', '20 days', '29 days', '30 days', '31 days', '400 days'],
    'nothing else is deleted for two weeks'
);

select pg_temp.live_until('2030-01-17 04:00:00+00');

select is(
    pg_temp.ttls_kept(), array['19 days', '20 days', '29 days', '30 days', '31 days', '400 days'],
    'a task with a retention of fourteen days is deleted two days after its last day'
);

select pg_temp.live_until('2030-01-21 04:00:00+00');

select is(
    pg_temp.ttls_kept(), array['19 days', '20 days', '29 days', '30 days', '31 days', '400 days'],
    'nothing is deleted before its retention is over'
);

select pg_temp.live_until('2030-01-21 12:00:00+00');

select is(
    pg_temp.ttls_kept(), array['19 days', '29 days', '30 days', '31 days', '400 days'],
    'a task that is kept longer than the ring is deleted as soon as its retention is over'
);

select pg_temp.live_until('2030-01-22 04:00:00+00');

select is(
    pg_temp.ttls_kept(), array['29 days', '30 days', '31 days', '400 days'],
    'a task in the ring is deleted two days after its last day'
);

select pg_temp.live_until('2030-01-30 04:00:00+00');

select is(
    pg_temp.ttls_kept(), array['29 days', '30 days', '31 days', '400 days'],
    'a task with a retention of twenty-nine days is kept for twenty-nine days'
);

select pg_temp.live_until('2030-01-30 12:00:00+00');

select is(
    pg_temp.ttls_kept(), array['30 days', '31 days', '400 days'],
    'a task with a retention of twenty-nine days is not kept longer'
);

select pg_temp.live_until('2030-01-31 12:00:00+00');

select is(
    pg_temp.ttls_kept(), array['31 days', '400 days'],
    'a task with a retention of thirty days is deleted when they are over'
);

select pg_temp.live_until('2030-02-01 12:00:00+00');

select is(
    pg_temp.ttls_kept(), array['400 days'],
    'a task with a retention of thirty-one days is deleted when they are over'
);

select pg_temp.live_until('2031-02-05 04:00:00+00');

select is(
    pg_temp.ttls_kept(), array['400 days'],
    'a task with a retention of four hundred days outlives every turn of the ring'
);

select pg_temp.live_until('2031-02-05 12:00:00+00');

select is(
    pg_temp.ttls_kept(), '{}',
    'a task with a retention of four hundred days is deleted when they are over'
);

select is(underway_test.state_of(unfinished.id), 'pending', 'unfinished work never expires') from unfinished;

select * from finish();
rollback;
