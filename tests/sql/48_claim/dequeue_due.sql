-- what is ready, and in which order

begin;
select plan(11);

create function pg_temp.claimed(max_tasks integer default 100) returns text[] language sql as $$
    select coalesce(array_agg(claimed.input #>> '{}'), '{}') from underway.dequeue('email', claimed.max_tasks) as claimed
$$;

select underway_test.stop_clock();
select underway.create_queue('email');

-- delayed tasks

select underway.enqueue('email', '"in an hour"', delay => '1 hour');
select underway.enqueue('email', '"at two"', run_at => '2030-01-01 14:00:00+00');

select is(pg_temp.claimed(), '{}', 'a task that is not due is not claimed');

select underway_test.stop_clock('2030-01-01 12:59:59.999999+00');

select is(pg_temp.claimed(), '{}', 'a task is not claimed a microsecond before it is due');

select underway_test.stop_clock('2030-01-01 13:00:00+00');

select is(pg_temp.claimed(), array['in an hour'], 'a delayed task is claimed the moment it is due');

select underway_test.stop_clock('2030-01-01 14:00:00+00');

select is(pg_temp.claimed(), array['at two'], 'a task with a time is claimed at that time');

-- order: since when they are ready, not since when they exist

select underway.enqueue('email', '"after ten minutes"', delay => '10 minutes');
select underway.enqueue('email', '"after five minutes"', delay => '5 minutes');
select underway_test.advance_clock('7 minutes');
select underway.enqueue('email', '"new after seven minutes"');
select underway_test.advance_clock('1 hour');
select underway.enqueue('email', '"new after an hour"');

select is(
    pg_temp.claimed(),
    array['after five minutes', 'new after seven minutes', 'after ten minutes', 'new after an hour'],
    'tasks are claimed in the order in which they became ready'
);

select underway.enqueue('email', '"last"', delay => '3 minutes');
select underway.enqueue('email', '"first"', delay => '1 minute');
select underway.enqueue('email', '"middle"', delay => '2 minutes');
select underway_test.advance_clock('1 hour');

select is(
    pg_temp.claimed(1) || pg_temp.claimed(1) || pg_temp.claimed(1), array['first', 'middle', 'last'],
    'claims one by one take tasks in the order in which they became ready'
);

-- a run_at in the past

select underway.enqueue('email', '"first"');
select underway_test.advance_clock('1 second');
select underway.enqueue('email', '"dated back"', run_at => '2000-01-01 00:00:00+00');
select underway_test.advance_clock('1 second');
select underway.enqueue('email', '"third"');

select is(
    pg_temp.claimed(), array['first', 'dated back', 'third'], 'a task with a run_at in the past is claimed after the tasks that were ready before it'
);

-- at the same time: insertion

select underway.enqueue('email', '"a"');
select underway.enqueue('email', '"b"', delay => '0');
select underway.enqueue_many('email', array['"c"', '"d"', '"e"']::jsonb[], run_at => '2000-01-01 00:00:00+00');
select underway.enqueue_many('[{"queue": "email", "input": "f"}, {"queue": "email", "input": "g"}]');

select is(
    pg_temp.claimed(), array['a', 'b', 'c', 'd', 'e', 'f', 'g'],
    'tasks that become ready at one moment are claimed in the order of insertion'
);

select underway.enqueue('email', '"h"', run_at => '2030-01-02 00:00:00+00');
select underway.enqueue('email', '"i"', run_at => '2030-01-02 00:00:00+00');
select underway_test.stop_clock('2030-01-02 00:00:00+00');

select is(
    pg_temp.claimed(1) || pg_temp.claimed(1), array['h', 'i'], 'delayed tasks that become due at one moment are claimed in the order of insertion'
);

-- the clock runs

create function pg_temp.with_running_clock() returns text[] language plpgsql as $$
begin
    create or replace function underway._clock() returns timestamptz language sql volatile as 'select pg_catalog.clock_timestamp()';
    perform underway.enqueue('email', to_jsonb(number)) from generate_series(1, 50) as number;
    perform underway.enqueue_many('email', array(select to_jsonb(number) from generate_series(51, 100) as number));
    perform underway.enqueue('email', to_jsonb(number), run_at => clock_timestamp() - interval '1 hour') from generate_series(101, 150) as number;
    return pg_temp.claimed(150);
end;
$$;

select is(
    pg_temp.with_running_clock(), array(select number::text from generate_series(1, 150) as number),
    'tasks of one transaction are claimed in the order of the calls'
);

select underway_test.stop_clock('2030-01-03 00:00:00+00');

-- tasks that come back

create temp table back as select * from underway_test.held_task();
select underway.enqueue('email', '"came while it ran"');
select underway_test.advance_clock('1 second');
update underway.task t set input = '"came back"' where t.id = (select back.id from back);
select underway.release(back.id, back.lease) from back;

select is(
    pg_temp.claimed(), array['came back', 'came while it ran'],
    'a released task keeps its place, in front of the tasks that became ready while it ran'
);

select * from finish();
rollback;
