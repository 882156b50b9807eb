begin;
select plan(32);

select underway.create_queue('work');
select underway.create_queue('email');

create function pg_temp.end_next(how text) returns text language plpgsql as $$
begin
    if how = 'succeed' then
        perform underway.complete(d.id, d.lease) from underway.dequeue('work') d;
    else
        perform underway.fail(d.id, d.lease, '"no"', retryable => false) from underway.dequeue('work') d;
    end if;
    return how;
end;
$$;

-- callbacks: what waits for success, for the end and for a failure of a batch, and how it stands
create function pg_temp.callbacks(batch bigint) returns text language sql as $$
    select format(
        'success %s, final %s, failure %s',
        underway_test.state_of(s.on_success), underway_test.state_of(s.on_final), underway_test.state_of(s.on_failure)
    )
    from underway.batch_stats s
    where s.batch = callbacks.batch
$$;

create function pg_temp.batch_of(tasks integer) returns bigint language sql as $$
    select underway.enqueue_batch(
        (select coalesce(jsonb_agg(jsonb_build_object('queue', 'work', 'input', n)), '[]') from generate_series(1, tasks) n),
        on_success => '{"queue": "email", "input": "success"}',
        on_final => '{"queue": "email", "input": "final"}',
        on_failure => '{"queue": "email", "input": "failure"}'
    )
$$;

-- all succeed

create temporary table good as select pg_temp.batch_of(3) as id;
select is(
    (select array_agg(t.input order by t.id) from underway.task t where t.queue = 'work'), '{1,2,3}'::jsonb[], 'the tasks of a batch are pending'
);
select is(pg_temp.callbacks(id), 'success waiting, final waiting, failure waiting', 'its callbacks are waiting') from good;
select is_empty('select from underway.dequeue(''email'', 10)', 'its callbacks are not claimed');
select pg_temp.end_next('succeed'), pg_temp.end_next('succeed');
select is(pg_temp.callbacks(id), 'success waiting, final waiting, failure waiting', 'a batch is live until its last task ends') from good;
select pg_temp.end_next('succeed');
select is(pg_temp.callbacks(id), 'success pending, final pending, failure cancelled', 'a batch has succeeded when all its tasks have') from good;
select results_eq(
    'select input #>> ''{}'', headers from underway.dequeue(''email'', 10) order by id',
    $$ select unnest('{success,final}'::text[]), jsonb_build_object('batch', id) from good $$,
    'the callbacks run with the batch in their headers'
);

-- some do not

create temporary table bad as select pg_temp.batch_of(3) as id;
select pg_temp.end_next('fail');
select is(pg_temp.callbacks(id), 'success waiting, final waiting, failure pending', 'the first failure fails the batch') from bad;
select results_eq('select input from underway.dequeue(''email'', 10)', $$ values ('"failure"'::jsonb) $$, 'the first failure starts on_failure');
select pg_temp.end_next('fail'), pg_temp.end_next('succeed');
select is(pg_temp.callbacks(id), 'success waiting, final pending, failure in_progress', 'a batch is final when all its tasks are') from bad;
select results_eq('select input from underway.dequeue(''email'', 10)', $$ values ('"final"'::jsonb) $$, 'on_final runs once');
select underway.retry(m.task) from underway.batch_task m, bad where m.batch = bad.id;
select pg_temp.end_next('succeed');
select is(pg_temp.callbacks(id), 'success waiting, final in_progress, failure in_progress', 'a retried task that succeeds does not start on_success while another has failed') from bad;
select pg_temp.end_next('fail');
select is(pg_temp.callbacks(id), 'success waiting, final in_progress, failure in_progress', 'a retried task that fails again starts nothing') from bad;
select underway.retry(m.task) from underway.batch_task m, bad where m.batch = bad.id;
select pg_temp.end_next('succeed');
select is(pg_temp.callbacks(id), 'success pending, final in_progress, failure in_progress', 'on_success starts when all tasks have succeeded after retries') from bad;

-- an empty one

create temporary table empty as select pg_temp.batch_of(0) as id;
select is(pg_temp.callbacks(id), 'success pending, final pending, failure cancelled', 'a batch without tasks has succeeded at once')
from empty;

-- what it takes

create temporary table plain as select underway.enqueue_batch('[{"queue": "work"}]', name => 'nightly', retention => '1 hour') as id;
select is((select (name, retention)::text from underway.batch b, plain where b.id = plain.id), '(nightly,01:00:00)', 'a batch has the given name and retention');
select is((select count(*) from underway.dependent f, plain where f.batch = plain.id), 0::bigint, 'a batch without callbacks has none');

create temporary table given as
select underway.enqueue_batch(
    '[{"queue": "work", "unique_key": "k"}, {"queue": "work", "unique_key": "k"}, {"queue": "work", "priority": 3}]',
    on_final => '{"queue": "email", "delay": "1 hour", "headers": {"trace": "t"}, "priority": 7, "concurrency_key": "c"}',
    on_failure => 'null'
) as id;
select is((select tasks from underway.batch_stats s, given where s.batch = given.id), 2, 'a task that is found by its unique key twice counts once');
select is(
    (
        select (t.headers, t.priority, t.concurrency_key, t.ready_at > underway._clock() + interval '59 minutes')::text
        from underway.task t, underway.batch_stats s, given where s.batch = given.id and t.id = s.on_final
    ),
    (select format('("{""batch"": %s, ""trace"": ""t""}",7,c,t)', id) from given),
    'a callback has its own options, and its own headers beside the batch'
);

create temporary table shared as
select underway.enqueue_batch('[{"queue": "work", "unique_key": "k"}]', on_final => '{"queue": "email"}') as id;
select is((select live from underway.batch_stats s, shared where s.batch = shared.id), 1::bigint, 'a task of one batch may join another by its unique key');

create temporary table line as
select underway.enqueue_batch(
    jsonb_build_array(jsonb_build_object('queue', 'work', 'after', jsonb_build_array(t.task))), on_final => '{"queue": "email"}'
) as id
from underway.batch_task t, plain where t.batch = plain.id;
select is((select live from underway.batch_stats s, line where s.batch = line.id), 1::bigint, 'a task of a batch may come after others');

-- a callback of a callback: it is a task, and others may come after it
create temporary table deep as select pg_temp.batch_of(0) as id;
create temporary table after as
select underway.enqueue('email', after => array[s.on_success], after_failure => 'run') as id,
    underway.enqueue('email', after => array[s.on_failure], after_failure => 'run') as at_once
from underway.batch_stats s, deep where s.batch = deep.id;
select is(underway_test.state_of(id), 'waiting', 'a callback is a task that others may come after') from after;
select is(underway_test.state_of(at_once), 'pending', 'a cancelled callback counts as ended') from after;

-- the same while it waits: its cancellation ends it
create temporary table ahead as select underway.enqueue_batch('[{"queue": "deep"}]', on_failure => '{"queue": "email"}') as id
from (select underway.create_queue('deep')) q;
create temporary table behind as
select underway.enqueue('email', after => array[s.on_failure], after_failure => 'fail') as id from underway.batch_stats s, ahead where s.batch = ahead.id;
select underway.complete(d.id, d.lease) from underway.dequeue('deep') d;
select is(underway_test.state_of(id), 'failed', 'a task that comes after an on_failure callback fails with it when that is cancelled') from behind;

-- refusals

create temporary table before as select (select count(*) from underway.task) as tasks, (select count(*) from underway.batch) as batches;
select throws_ok($$ select underway.enqueue_batch(null) $$, 'UW001', 'tasks are a JSON nothing', 'tasks that are not an array are refused');
select throws_ok(
    $$ select underway.enqueue_batch('[{"queue": "nowhere"}]') $$, 'UW003', null, 'a task for an unknown queue is refused'
);
select throws_ok(
    $$ select underway.enqueue_batch('[]', on_final => '{"queue": "nowhere"}') $$, 'UW003', null, 'a callback for an unknown queue is refused'
);
select throws_ok(
    $$ select underway.enqueue_batch('[]', on_success => '[]') $$, 'UW001', 'on_success is []', 'a callback that is not an object is refused'
);
select throws_ok(
    format($$ select underway.enqueue_batch('[]', on_final => %L) $$, option), 'UW001', null, 'and has no ' || option
)
from (values ('{"queue": "email", "unique_key": "k"}'), ('{"queue": "email", "after": []}')) as given (option);
select throws_ok($$ select underway.enqueue_batch('[]', retention => '-1 second') $$, 'UW001', null, 'a negative retention is refused');
select throws_ok($$ select underway.enqueue_batch('[]', retention => null) $$, 'UW001', null, 'nor null');
select is(
    ((select count(*) from underway.task), (select count(*) from underway.batch)), (tasks, batches), 'a refused call leaves no row'
)
from before;

select * from finish();
rollback;
