begin;
select plan(89);

create function pg_temp.as_role(role text, statement text)
returns void
language plpgsql
as $$
begin
    perform set_config('role', as_role.role, true);
    execute as_role.statement;
    perform set_config('role', 'none', true);
end;
$$;

create function pg_temp.may(role text, statement text, description text)
returns setof text
language sql
as $$
    select lives_ok(format('select pg_temp.as_role(%L, %L)', 'underway_' || role, statement), description)
$$;

create function pg_temp.may_not(role text, statement text, description text)
returns setof text
language sql
as $$
    select throws_ok(
        format('select pg_temp.as_role(%L, %L)', 'underway_' || role, statement), '42501', null, description
    )
$$;

-- A task under a lease, and its address for a call.
create function pg_temp.address_of_held_task()
returns text
language sql
as $$
    select format('%s, %L', held.id, held.lease) from underway_test.held_task('email') held
$$;

create function pg_temp.batch_of_held_task()
returns text
language sql
as $$
    select format('array[%s], array[%L::uuid]', held.id, held.lease) from underway_test.held_task('email') held
$$;

-- a producer

select underway.create_queue('email');

select pg_temp.may('producer', $$ select underway.enqueue('email', '{}') $$, 'a producer enqueues a task');
select pg_temp.may('producer', $$ select underway.enqueue_many('email', '{1, 2}') $$, 'a producer enqueues a batch');
select pg_temp.may(
    'producer', $$ select underway.enqueue_many('[{"queue": "email"}]') $$, 'a producer enqueues a batch of objects'
);
select pg_temp.may(
    'producer',
    $$ select underway.enqueue('email', retry_policy => underway.retry_policy(max_attempts => 2)) $$,
    'a producer gives a task a retry policy'
);
select pg_temp.may(
    'producer', format('select underway.watch(%s)', underway_test.ready_task()), 'a producer watches a task'
);
select pg_temp.may('producer', 'select * from underway.error_code', 'a producer reads the list of errors');

select pg_temp.may_not('producer', given.statement, format('a producer is refused: %s', btrim(given.statement)))
from (values
    ($$ select underway.dequeue('email') $$),
    ($$ select underway.cancel(1) $$),
    ($$ select underway.delete_task(1) $$),
    ($$ select underway.create_queue('invoice') $$),
    ($$ select underway.drop_queue('email', true) $$),
    ($$ select underway.maintain() $$),
    ($$ select underway.stats() $$),
    ($$ select * from underway.task_info(1) $$),
    ($$ select underway.why(1) $$),
    ($$ select * from underway.task_list $$)
) as given (statement);

-- a worker

select pg_temp.may('worker', $$ select underway.dequeue('email', 1) $$, 'a worker claims from a queue');
select pg_temp.may('worker', $$ select underway.dequeue('{email}'::text[], 1) $$, 'a worker claims from several queues');
select pg_temp.may(
    'worker', format('select underway.complete(%s)', pg_temp.address_of_held_task()), 'a worker completes a task'
);
select pg_temp.may(
    'worker', format('select underway.complete_many(%s)', pg_temp.batch_of_held_task()), 'a worker completes a batch'
);
select pg_temp.may(
    'worker',
    format('select underway.complete_and_dequeue(%s, null, %L, 1)', pg_temp.batch_of_held_task(), '{email}'),
    'a worker completes a batch and claims the next'
);
select pg_temp.may(
    'worker', format('select underway.fail(%s, %L)', pg_temp.address_of_held_task(), '"no"'), 'a worker fails a task'
);
select pg_temp.may(
    'worker',
    format('select underway.fail_many(%s, array[%L::jsonb])', pg_temp.batch_of_held_task(), '"no"'),
    'a worker fails a batch'
);
select pg_temp.may(
    'worker', format('select underway.snooze(%s, %L)', pg_temp.address_of_held_task(), '1 s'), 'a worker snoozes a task'
);
select pg_temp.may(
    'worker', format('select underway.release(%s)', pg_temp.address_of_held_task()), 'a worker releases a task'
);
select pg_temp.may(
    'worker', format('select underway.release_many(%s)', pg_temp.batch_of_held_task()), 'a worker releases a batch'
);
select pg_temp.may(
    'worker', format('select underway.heartbeat(%s)', pg_temp.batch_of_held_task()), 'a worker renews its leases'
);
select pg_temp.may(
    'worker', format('select underway.report_progress(%s, %L)', pg_temp.address_of_held_task(), '1'),
    'a worker reports progress'
);
select pg_temp.may('worker', $$ select underway.register_worker('host-1', '{email}') $$, 'a worker registers');
select pg_temp.may('worker', 'select underway.set_idle(1, true)', 'a worker reports that it is idle');
select pg_temp.may(
    'worker', $$ select underway.set_skipped_jobs(1, '{export}') $$, 'a worker records which jobs it does not know'
);
select pg_temp.may(
    'worker', format('select underway.snooze_many(%s, %L)', pg_temp.batch_of_held_task(), '{1 s}'),
    'a worker snoozes a batch'
);
select pg_temp.may(
    'worker', format('select underway.report_progress_many(%s, %L)', pg_temp.batch_of_held_task(), '{1}'),
    'a worker reports the progress of a batch'
);
select pg_temp.may('worker', $$ select underway.next_wakeup('{email}') $$, 'a worker asks how long it may sleep');
select pg_temp.may('worker', 'select underway.worker_state(1)', 'a worker reads its own state');
select pg_temp.may('worker', 'select underway.maintain()', 'a worker calls maintain');
select pg_temp.may('worker', 'select underway.unregister_worker(1)', 'a worker unregisters');

select pg_temp.may_not('worker', given.statement, format('a worker is refused: %s', btrim(given.statement)))
from (values
    ($$ select underway.enqueue('email') $$),
    ($$ select underway.cancel(1) $$),
    ($$ select underway.retry(1) $$),
    ($$ select underway.create_queue('invoice') $$),
    ($$ select underway.pause_queue('email') $$),
    ($$ select underway.pause_key('email', 'a') $$),
    ($$ select underway.resume_key('email', 'a') $$),
    ($$ select * from underway.task_info(1) $$),
    ($$ select underway._finish('{}', '{}', 'succeeded') $$),
    ($$ select underway._reclaim() $$)
) as given (statement);

-- an observer

select pg_temp.may('observer', format('select * from underway.%I', given.view), format('an observer reads %s', given.view))
from unnest('{queue_stats, worker_stats, task_list, error_code}'::text[]) as given (view);
select pg_temp.may('observer', 'select underway.stats()', 'an observer calls stats');
select pg_temp.may('observer', 'select * from underway.task_info(1)', 'an observer reads a task');

select pg_temp.may_not('observer', given.statement, format('an observer is refused: %s', btrim(given.statement)))
from (values
    ($$ select underway.enqueue('email') $$),
    ($$ select underway.dequeue('email') $$),
    ($$ select underway.cancel(1) $$),
    ($$ select underway.pause_queue('email') $$),
    ($$ select underway.pause_key('email', 'a') $$),
    ($$ select underway.maintain() $$)
) as given (statement);

-- an operator

select pg_temp.may('operator', $$ select underway.create_queue('invoice') $$, 'an operator creates a queue');
select pg_temp.may(
    'operator',
    $$ select underway.create_queue('invoice', retry_policy => underway.retry_policy(max_attempts => 2)) $$,
    'an operator changes a queue'
);
select pg_temp.may('operator', $$ select underway.pause_queue('invoice') $$, 'an operator pauses a queue');
select pg_temp.may('operator', $$ select underway.resume_queue('invoice') $$, 'an operator resumes a queue');
select pg_temp.may('operator', $$ select underway.pause_key('invoice', 'a') $$, 'an operator pauses a key');
select pg_temp.may('operator', $$ select underway.resume_key('invoice', 'a') $$, 'an operator resumes a key');
select pg_temp.may('operator', $$ select underway.redrive('invoice') $$, 'an operator redrives a queue');
select pg_temp.may('operator', $$ select underway.drop_queue('invoice', true) $$, 'an operator drops a queue');
select pg_temp.may(
    'operator', format('select underway.reschedule(%s, %L)', underway_test.ready_task(), 'now'),
    'an operator reschedules a task'
);
select pg_temp.may(
    'operator', format('select underway.reprioritize(%s, 1)', underway_test.ready_task()),
    'an operator reprioritizes a task'
);
select pg_temp.may(
    'operator', format('select underway.cancel(%s)', underway_test.ready_task()), 'an operator cancels a task'
);
select pg_temp.may(
    'operator', format('select underway.retry(%s)', underway_test.finished_task('failed')), 'an operator retries a task'
);
select pg_temp.may(
    'operator', format('select underway.delete_task(%s)', underway_test.finished_task()), 'an operator deletes a task'
);
select pg_temp.may('operator', 'select underway.maintain()', 'an operator calls maintain');
select pg_temp.may('operator', 'select underway.stop_workers(all_workers => true)', 'an operator stops workers');
select pg_temp.may('operator', 'select underway.stats()', 'an operator calls stats');
select pg_temp.may('operator', format('select underway.watch(%s)', underway_test.ready_task()), 'an operator watches a task');
select pg_temp.may('operator', format('select * from underway.%I', given.view), format('an operator reads %s', given.view))
from unnest('{queue_stats, worker_stats, task_list}'::text[]) as given (view);

select pg_temp.may_not('operator', given.statement, format('an operator is refused: %s', btrim(given.statement)))
from (values
    ($$ select underway.enqueue('email') $$),
    ($$ select underway.dequeue('email') $$),
    ($$ select underway.complete(1, gen_random_uuid()) $$),
    ($$ select underway.register_worker('host-1', '{email}') $$)
) as given (statement);

-- tables, and users without a role

select pg_temp.may_not(given.role, 'select from underway.task', format('the role %s may not read the table of tasks', given.role))
from unnest('{producer, worker, observer, operator}'::text[]) as given (role);

select throws_ok(
    format('select pg_temp.as_role(%L, %L)', 'pg_monitor', given.statement),
    '42501', 'permission denied for schema underway',
    format('a user without any of the roles is refused: %s', btrim(given.statement))
)
from (values
    ($$ select underway.enqueue('email') $$),
    ($$ select * from underway.queue_stats $$)
) as given (statement);

select * from finish();
rollback;
