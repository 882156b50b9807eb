begin;
select plan(38);

create temporary view role as
select given.name
from unnest('{underway_producer, underway_worker, underway_observer, underway_operator}'::name[]) as given (name);

-- A function is called when all its forms may be.
create function pg_temp.callable_by(role name)
returns setof text
language sql
as $$
    select p.proname::text
    from pg_proc p
    where p.pronamespace = 'underway'::regnamespace
    group by p.proname
    having bool_and(has_function_privilege(callable_by.role, p.oid, 'execute'))
$$;

-- the roles

select is(
    (select array_agg(r.rolname::name order by r.rolname) from pg_roles r join role on role.name = r.rolname),
    (select array_agg(name order by name) from role),
    'the four roles exist'
);

select is_empty(
    $$
        select r.rolname
        from pg_roles r
        join role on role.name = r.rolname
        where r.rolcanlogin or r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolbypassrls
    $$,
    'none of the roles can log in or has an attribute of a superuser'
);

select is_empty(
    $$ select name from role where not has_schema_privilege(name, 'underway', 'usage') $$,
    'each role may use the schema'
);

select is_empty(
    $$ select name from role where has_schema_privilege(name, 'underway', 'create') $$,
    'no role may create objects in the schema'
);

-- functions

select set_eq(
    $$ select pg_temp.callable_by('underway_producer') $$,
    '{
        enqueue, enqueue_many, enqueue_unique, enqueue_batch, extend_batch, retry_policy, watch, cron_next, cron_preview,
        schema_version, shard, _enqueue_one, _queue_of_job
    }'::text[],
    'a producer can enqueue and watch tasks, and cannot read them'
);

select set_eq(
    $$ select pg_temp.callable_by('underway_worker') $$,
    '{
        dequeue, complete, complete_many, complete_and_dequeue, fail, fail_many, snooze, release, release_many,
        heartbeat, report_progress, report_progress_many, register_worker, unregister_worker, set_idle, set_skipped_jobs,
        pass_on, snooze_many, next_wakeup, worker_state, maintain,
        run_schedules, register_job, retry_policy, schema_version, shard
    }'::text[],
    'a worker can dequeue, settle, maintain and register its jobs'
);

select set_eq(
    $$ select pg_temp.callable_by('underway_observer') $$,
    '{
        task_info, why, stats, backoff, cron_next, cron_preview, schema_version, shard, _clock, histogram_bounds,
        stats_over_time, stats_by_queue, stats_by_job, queue_depth_over_time,
        queue_counts, find_tasks, count_tasks, task_dependencies, events_after, last_event, failure_groups, database_health,
        batch_tasks, export_tasks
    }'::text[],
    'an observer can only read'
);

select set_eq(
    $$ select pg_temp.callable_by('underway_operator') $$,
    '{
        create_queue, register_job, unregister_job, schema_version, shard, configure, pause_queue, resume_queue, pause_key, resume_key, drop_queue, retry_policy, cancel,
        cancel_batch, retry, redrive, reschedule, reprioritize, delete_task, schedule, unschedule, pause_schedule,
        resume_schedule, run_schedule_now, run_schedules, cron_next, cron_preview, maintain, stop_workers, watch,
        task_info, why, stats, _clock, cancel_many, retry_many, delete_many, redrive_many, run_again, record_action,
        histogram_bounds, stats_over_time, stats_by_queue, stats_by_job, queue_depth_over_time,
        queue_counts, find_tasks, count_tasks, task_dependencies, events_after, last_event, failure_groups, database_health,
        batch_tasks, export_tasks, move_status, pause_to_move, begin_move_batch, receive_move_batch, confirm_move_batch
    }'::text[],
    'an operator can change queues, schedules and single tasks, wait for tasks, and read all that an observer reads'
);

select is_empty(
    $$
        select role.name, p.oid::regprocedure
        from pg_proc p
        cross join role
        where p.pronamespace = 'underway'::regnamespace
          and p.proname like '\_%'
          and p.proname not in ('_clock', '_enqueue_one', '_queue_of_job')
          and has_function_privilege(role.name, p.oid, 'execute')
    $$,
    'no role may call a private function, except those that views and the inlined enqueue call'
);

select is_empty(
    $$
        select p.proname, role.name
        from pg_proc p
        cross join role
        where p.pronamespace = 'underway'::regnamespace
        group by p.proname, role.name
        having bool_or(has_function_privilege(role.name, p.oid, 'execute'))
            <> bool_and(has_function_privilege(role.name, p.oid, 'execute'))
    $$,
    'a role that may call one form of a function may call all its forms'
);

-- views and tables

select set_eq(
    $$
        select role.name::text, c.relname::text
        from pg_class c
        cross join role
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind in ('r', 'p', 'v', 'm', 'f')
          and has_table_privilege(role.name, c.oid, 'select')
    $$,
    $$
        select role.name::text, view
        from role
        cross join unnest('{error_code, settings}'::text[]) as view
        union all
        select reader, view
        from unnest('{underway_worker, underway_observer, underway_operator}'::text[]) as reader
        cross join unnest('{job_list, queue_list, schedule_stats}'::text[]) as view
        union all
        select reader, view
        from unnest('{underway_observer, underway_operator}'::text[]) as reader
        cross join unnest('{batch_stats, queue_stats, task_list, worker_stats, stats_total, audit_list, unfinished_moves}'::text[]) as view
    $$,
    'observers and operators read the views, workers what is declared, all roles the errors and settings, and no role a table'
);

select is_empty(
    $$
        select role.name, c.relname
        from pg_class c
        cross join role
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind in ('r', 'p', 'v', 'm', 'f')
          and (
              has_table_privilege(role.name, c.oid, 'insert, update, delete, truncate, references, trigger')
              or has_any_column_privilege(role.name, c.oid, 'insert, update, references')
              or c.relkind in ('r', 'p') and has_any_column_privilege(role.name, c.oid, 'select')
          )
    $$,
    'no role may write to a table or read a column of it'
);

select is_empty(
    $$
        select role.name, c.relname
        from pg_class c
        cross join role
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind = 'S'
          and has_sequence_privilege(role.name, c.oid, 'usage, select, update')
    $$,
    'no role may use a sequence'
);

-- public

select is_empty(
    $$
        select p.oid::regprocedure
        from pg_proc p
        cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as entry
        where p.pronamespace = 'underway'::regnamespace
          and entry.grantee = 0
    $$,
    'public may call no function'
);

select is_empty(
    $$
        select c.relname
        from pg_class c
        cross join aclexplode(c.relacl) as entry
        where c.relnamespace = 'underway'::regnamespace
          and entry.grantee = 0
        union all
        select c.relname
        from pg_attribute a
        join pg_class c on c.oid = a.attrelid
        cross join aclexplode(a.attacl) as entry
        where c.relnamespace = 'underway'::regnamespace
          and entry.grantee = 0
    $$,
    'public may read and write no table'
);

select is_empty(
    $$
        select n.nspname
        from pg_namespace n
        cross join aclexplode(n.nspacl) as entry
        where n.nspname = 'underway'
          and entry.grantee = 0
    $$,
    'public may not use the schema'
);

select is_empty(
    $$
        select c.relname, entry.grantee::regrole
        from pg_class c
        cross join aclexplode(c.relacl) as entry
        where c.relnamespace = 'underway'::regnamespace
          and entry.is_grantable
          and entry.grantee <> c.relowner
        union all
        select p.proname, entry.grantee::regrole
        from pg_proc p
        cross join aclexplode(p.proacl) as entry
        where p.pronamespace = 'underway'::regnamespace
          and entry.is_grantable
          and entry.grantee <> p.proowner
    $$,
    'nothing is granted with grant option'
);

-- schedules: the grants are sufficient, and other calls are refused

create function pg_temp.as_role(role text, statement text)
returns void
language plpgsql
as $$
begin
    perform set_config('role', 'underway_' || as_role.role, true);
    execute as_role.statement;
    perform set_config('role', 'none', true);
end;
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

select lives_ok(
    format('select pg_temp.as_role(%L, %L)', given.role, given.statement),
    format('a role %s may: %s', given.role, given.statement)
)
from (values
    ('operator', $$select underway.schedule('nightly', 'email', '@daily')$$),
    ('operator', $$select underway.pause_schedule('nightly')$$),
    ('operator', $$select underway.resume_schedule('nightly')$$),
    ('operator', $$select underway.run_schedule_now('nightly')$$),
    ('operator', $$select underway.run_schedules()$$),
    ('operator', $$select * from underway.schedule_stats$$),
    ('operator', $$select underway.cron_preview('@daily', 'Europe/Berlin', '2030-01-01')$$),
    ('observer', $$select * from underway.schedule_stats$$),
    ('observer', $$select underway.cron_preview('@daily', 'Europe/Berlin', '2030-01-01')$$),
    ('producer', $$select underway.cron_next('@daily', 'Europe/Berlin', '2030-01-01')$$)
) as given (role, statement);

select underway_test.advance_clock('1 day');
select lives_ok($$ select pg_temp.as_role('worker', 'select underway.run_schedules()') $$, 'a worker may call run_schedules');
select underway_test.advance_clock('1 day');
select lives_ok($$ select pg_temp.as_role('worker', 'select underway.maintain()') $$, 'a worker may run schedules through maintain');
select is(
    underway_test.times_of('nightly', 'DD HH24:MI'), '{01 12:00,02 00:00,03 00:00}',
    'a role that may not enqueue can enqueue the tasks of schedules through run_schedules'
);
select lives_ok(
    $$ select pg_temp.as_role('operator', 'select underway.unschedule(''nightly'')') $$,
    'an operator may remove a schedule'
);

select throws_ok(
    format('select pg_temp.as_role(%L, %L)', given.role, given.statement), '42501', null,
    format('a role %s may not: %s', given.role, given.statement)
)
from (values
    ('producer', $$select underway.schedule('nightly', 'email', '@daily')$$),
    ('producer', $$select underway.run_schedule_now('nightly')$$),
    ('worker', $$select underway.schedule('nightly', 'email', '@daily')$$),
    ('worker', $$select underway.unschedule('nightly')$$),
    ('observer', $$select underway.run_schedules()$$),
    ('observer', $$select underway.pause_schedule('nightly')$$),
    ('operator', $$select * from underway.schedule$$)
) as given (role, statement);

select * from finish();
rollback;
