-- the previous task when a time comes

begin;
select plan(24);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', retry_policy => underway.retry_policy(max_attempts => 1));
select underway.schedule('s', 'email', '* * * * *', overlap => 'skip', catch_up => 'all');

-- The times that have come after the one of this minute.
create function pg_temp.tick(minute text)
returns text
language plpgsql
as $$
declare
    v_before integer := cardinality(underway_test.times_of('s'));
begin
    perform underway_test.stop_clock(('2030-01-01 ' || tick.minute || '+00')::timestamptz);
    perform underway.run_schedules();
    return array_to_string((underway_test.times_of('s'))[v_before + 1:], ' ');
end;
$$;

create function pg_temp.previous()
returns bigint
language sql
as $$
    select last_task from underway.schedule_stats where schedule = 's'
$$;

-- live

select is(pg_temp.tick('12:01'), '12:01', 'the first time has no previous task');
select is(pg_temp.tick('12:02'), '', 'while the previous task is pending, a time is left out');

select results_eq(
    $$ select next_at, last_at from underway.schedule_stats $$,
    $$ values ('2030-01-01 12:03:00+00'::timestamptz, '2030-01-01 12:01:00+00'::timestamptz) $$,
    'a time that was left out is gone, and is no last time'
);

create temporary table held on commit drop as select id, lease from underway.dequeue('email', 1);
select is(pg_temp.tick('12:03'), '', 'while it runs, too');

select underway.snooze(id, lease, '1 hour') from held;
select is(pg_temp.tick('12:04'), '', 'while it is put off, too');

update underway.task set state = 'waiting';
select is(pg_temp.tick('12:05'), '', 'while it waits, too');

select is((select count(*) from underway.task), 1::bigint, 'nothing piles up');

-- final

update underway.task set state = 'pending', ready_at = underway._clock();
select underway.complete(id, lease) from underway.dequeue('email', 1);
select is(pg_temp.tick('12:06'), '12:06', 'when it has succeeded, the next time comes');
select is(pg_temp.tick('12:07'), '', 'then the new task is the previous one');

select underway.fail(id, lease, '"no"') from underway.dequeue('email', 1);
select is(pg_temp.tick('12:08'), '12:08', 'when it has failed, the next time comes');

select underway.cancel(pg_temp.previous());
select is(pg_temp.tick('12:09'), '12:09', 'when it was cancelled, the next time comes');

create temporary table deleted on commit drop as select pg_temp.previous() as id;
select underway.cancel(id) from deleted;
select underway.delete_task(id) from deleted;
select is(pg_temp.tick('12:10'), '12:10', 'when nothing is left of it, the next time comes');

-- live again

select underway.cancel(pg_temp.previous());
select underway.retry(pg_temp.previous());
select is(pg_temp.tick('12:11'), '', 'a task that is tried again is live');
select underway.complete(id, lease) from underway.dequeue('email', 1);
select is(pg_temp.tick('12:12'), '12:12', 'until it is final again');

-- other tasks

select underway.cancel(pg_temp.previous());
select underway.enqueue('email', headers => '{"schedule": "other"}');
select is(pg_temp.tick('12:13'), '12:13', 'other tasks of the queue hold nothing up');

select underway.cancel(pg_temp.previous());
select underway.run_schedule_now('s');
select is(pg_temp.tick('12:14'), '', 'a task that was run now is the previous one');
select underway.cancel(pg_temp.previous());
select is(pg_temp.tick('12:15'), '12:15', 'until it is final');

-- several times at once

select underway.cancel(pg_temp.previous());
select is(
    pg_temp.tick('12:30'), '12:16', 'of the times that are made up for at once, the first leaves out the others'
);
select is(
    (select next_at from underway.schedule_stats), '2030-01-01 12:31:00+00', 'the next time is the next'
);

-- a change of the schedule, and its absence

select underway.schedule('s', 'email', '* * * * *', overlap => 'skip', catch_up => 'all', priority => 1);
select is(pg_temp.tick('12:31'), '', 'a schedule that is changed keeps its previous task');

select underway.schedule('s', 'email', '*/2 * * * *', overlap => 'skip');
select is(pg_temp.tick('12:32'), '', 'so does one whose times are changed');

-- overlap is allowed

select underway.schedule('s', 'email', '* * * * *', overlap => 'allow');
select is(pg_temp.tick('12:33'), '12:33', 'when it is allowed, a time comes');
select is(pg_temp.tick('12:34'), '12:34', 'whatever the previous task does');

select underway.schedule('s', 'email', '* * * * *');
select is(pg_temp.tick('12:35'), '12:35', 'it is allowed by default');

select * from finish();
rollback;
