-- a time comes while the previous task is live

begin;
select plan(24);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', retry_policy => underway.retry_policy(max_attempts => 1));
select underway.schedule('s', 'email', '* * * * *', overlap => 'skip', catch_up => 'all');

-- The times that a call at this minute has enqueued.
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

-- the previous task is live

select is(pg_temp.tick('12:01'), '12:01', 'the first time has no previous task');
select is(pg_temp.tick('12:02'), '', 'while the previous task is pending, a time is skipped');

select results_eq(
    $$ select next_at, last_at from underway.schedule_stats $$,
    $$ values ('2030-01-01 12:03:00+00'::timestamptz, '2030-01-01 12:01:00+00'::timestamptz) $$,
    'a skipped time does not become the last time'
);

create temporary table held on commit drop as select id, lease from underway.dequeue('email', 1);
select is(pg_temp.tick('12:03'), '', 'while the previous task runs, a time is skipped');

select underway.snooze(id, lease, '1 hour') from held;
select is(pg_temp.tick('12:04'), '', 'while the previous task is snoozed, a time is skipped');

update underway.task set state = 'waiting';
select is(pg_temp.tick('12:05'), '', 'while the previous task is waiting, a time is skipped');

select is((select count(*) from underway.task), 1::bigint, 'skipped times enqueue no tasks');

-- the previous task is final

update underway.task set state = 'pending', ready_at = underway._clock();
select underway.complete(id, lease) from underway.dequeue('email', 1);
select is(pg_temp.tick('12:06'), '12:06', 'after the previous task has succeeded, the next time comes');
select is(pg_temp.tick('12:07'), '', 'the new task becomes the previous task');

select underway.fail(id, lease, '"no"') from underway.dequeue('email', 1);
select is(pg_temp.tick('12:08'), '12:08', 'after the previous task has failed, the next time comes');

select underway.cancel(pg_temp.previous());
select is(pg_temp.tick('12:09'), '12:09', 'after the previous task was cancelled, the next time comes');

create temporary table deleted on commit drop as select pg_temp.previous() as id;
select underway.cancel(id) from deleted;
select underway.delete_task(id) from deleted;
select is(pg_temp.tick('12:10'), '12:10', 'after the previous task was deleted, the next time comes');

-- the previous task is retried

select underway.cancel(pg_temp.previous());
select underway.retry(pg_temp.previous());
select is(pg_temp.tick('12:11'), '', 'while the previous task is retried, a time is skipped');
select underway.complete(id, lease) from underway.dequeue('email', 1);
select is(pg_temp.tick('12:12'), '12:12', 'after the retried task is final, the next time comes');

-- other tasks

select underway.cancel(pg_temp.previous());
select underway.enqueue('email', headers => '{"schedule": "other"}');
select is(pg_temp.tick('12:13'), '12:13', 'other tasks of the queue do not cause a time to be skipped');

select underway.cancel(pg_temp.previous());
select underway.run_schedule_now('s');
select is(pg_temp.tick('12:14'), '', 'a task that was run now counts as the previous task');
select underway.cancel(pg_temp.previous());
select is(pg_temp.tick('12:15'), '12:15', 'after a task that was run now is final, the next time comes');

-- several missed times

select underway.cancel(pg_temp.previous());
select is(
    pg_temp.tick('12:30'), '12:16', 'of several missed times only the first gives a task'
);
select is(
    (
        select next_at from underway.schedule_stats), '2030-01-01 12:31:00+00',
        'after several missed times the next time is the first in the future'
    
);

-- changes of the schedule

select underway.schedule('s', 'email', '* * * * *', overlap => 'skip', catch_up => 'all', priority => 1);
select is(pg_temp.tick('12:31'), '', 'a schedule that is changed keeps its previous task');

select underway.schedule('s', 'email', '*/2 * * * *', overlap => 'skip');
select is(pg_temp.tick('12:32'), '', 'a schedule whose times are changed keeps its previous task');

-- overlap is allowed

select underway.schedule('s', 'email', '* * * * *', overlap => 'allow');
select is(pg_temp.tick('12:33'), '12:33', 'with overlap allow, a time comes');
select is(pg_temp.tick('12:34'), '12:34', 'with overlap allow, a time comes while the previous task is live');

select underway.schedule('s', 'email', '* * * * *');
select is(pg_temp.tick('12:35'), '12:35', 'overlap is allowed by default');

select * from finish();
rollback;
