begin;
select plan(36);

select underway_test.stop_clock('2030-01-01 12:00:00Z');
select underway.create_queue('letters');
select underway.create_queue('work');
select underway.create_queue('email', dead_letter_queue => 'letters');

-- end: a task of the queue work runs and ends, so or so
create function pg_temp.ends(task bigint, how text) returns void language plpgsql as $$
begin
    if how = 'cancelled' then
        perform underway.cancel(task);
        return;
    end if;
    update underway.task t set priority = 1000000 where t.id = ends.task;
    perform underway._ensure_priority('work', 1000000);
    if how = 'succeeded' then
        perform underway.complete(d.id, d.lease) from underway.dequeue('work') d;
    else
        perform underway.fail(d.id, d.lease, '"no"', retryable => false) from underway.dequeue('work') d;
    end if;
    assert underway_test.state_of(task) = how;
end;
$$;

-- it waits until all have succeeded

create temporary table one as select underway.enqueue('work') as a, underway.enqueue('work') as b;
create temporary table after as select underway.enqueue('email', '{"n": 1}', after => array[a, b]) as id from one;
select is(underway_test.state_of(id), 'waiting', 'a task that comes after others waits') from after;
select is_empty('select from underway.dequeue(''email'')', 'and is not claimed');
select pg_temp.ends(a, 'succeeded') from one;
select is(underway_test.state_of(id), 'waiting', 'when one of them has succeeded it waits for the other') from after;
select pg_temp.ends(b, 'succeeded') from one;
select is(underway_test.state_of(id), 'pending', 'when all have, it is pending') from after;
select results_eq('select id, input from underway.dequeue(''email'')', $$ select id, '{"n": 1}'::jsonb from after $$, 'and runs');

-- an attempt that fails is no end

select underway.create_queue('work', retry_policy => underway.retry_policy(max_attempts => 2, initial_interval => '0'));
create temporary table tried as select underway.enqueue('work') as a;
create temporary table patient as select underway.enqueue('email', after => array[a], after_failure => 'fail') as id from tried;
select underway.fail(d.id, d.lease, '"no"') from underway.dequeue('work') d;
select is(underway_test.state_of(id), 'waiting', 'a task that is to be tried again has not failed') from patient;
select underway.fail(d.id, d.lease, '"no"') from underway.dequeue('work') d;
select is(underway_test.state_of(id), 'failed', 'one whose attempts are used up has') from patient;
delete from underway.task;

-- what does not succeed

create temporary table case_ as
select how, mode, underway.enqueue('work') as a, underway.enqueue('work') as b, 0::bigint as id
from unnest('{failed,cancelled}'::text[]) as how cross join unnest('{wait,fail,run}'::text[]) as mode;
update case_ set id = underway.enqueue('email', after => array[a, b], after_failure => mode);
select pg_temp.ends(a, how) from case_;

create function pg_temp.states() returns text language sql as $$
    select string_agg(format('%s, %s: %s', how, mode, underway_test.state_of(id)), '; ' order by how desc, mode desc) from case_
$$;
select is(
    pg_temp.states(),
    'failed, wait: waiting; failed, run: waiting; failed, fail: failed;'
    ' cancelled, wait: waiting; cancelled, run: waiting; cancelled, fail: failed',
    'a task that is to fail fails at the first that does not succeed; the others wait'
);
select pg_temp.ends(b, 'succeeded') from case_;
select is(
    pg_temp.states(),
    'failed, wait: waiting; failed, run: pending; failed, fail: failed;'
    ' cancelled, wait: waiting; cancelled, run: pending; cancelled, fail: failed',
    'with after_failure => ''run'' a task runs when all its dependencies are final'
);
select is(
    (select array_agg(i.errors #>> '{0,message}' order by how) from case_, underway.task_info(id) i where mode = 'fail'),
    (select array_agg(format('task %s, which it comes after, is %s', a, how) order by how) from case_ where mode = 'fail'),
    'the error names the dependency that did not succeed'
);
select is(
    (select count(*) from underway.task t where t.queue = 'letters' and t.dead_letter #>> '{error,type}' = 'DependencyFailed'),
    2::bigint, 'the dead letter has the same error'
);
select underway.retry(a) from case_;
select is(
    pg_temp.states(),
    'failed, wait: waiting; failed, run: pending; failed, fail: failed;'
    ' cancelled, wait: waiting; cancelled, run: pending; cancelled, fail: failed',
    'a retry changes nothing yet'
);
select pg_temp.ends(a, 'succeeded') from case_;
select is(
    pg_temp.states(),
    'failed, wait: pending; failed, run: pending; failed, fail: failed;'
    ' cancelled, wait: pending; cancelled, run: pending; cancelled, fail: failed',
    'when a retried dependency has succeeded, the waiting tasks run'
);
delete from underway.task;

-- what has ended already

create temporary table past as
select underway_test.finished_task('succeeded', 'work') as succeeded, underway_test.finished_task('failed', 'work') as failed;
select is(underway_test.state_of(underway.enqueue('email', after => array[succeeded])), 'pending', 'a task after a succeeded one is pending at once')
from past;
select is(underway_test.state_of(underway.enqueue('email', after => array[succeeded, failed])), 'waiting', 'a task after a failed one waits') from past;
select is(
    underway_test.state_of(underway.enqueue('email', after => array[succeeded, failed], after_failure => 'fail')), 'failed', 'with after_failure => ''fail'' it fails at once'
)
from past;
select is(
    underway_test.state_of(underway.enqueue('email', after => array[succeeded, failed], after_failure => 'run')), 'pending', 'with after_failure => ''run'' it is pending at once'
)
from past;
select is(underway_test.state_of(underway.enqueue('email', after => '{}')), 'pending', 'after nothing it is pending');
delete from underway.task;

-- its time

create temporary table due as select underway.enqueue('work') as a;
create temporary table late as
select underway.enqueue('email', after => array[a], delay => '1 hour') as id,
    underway.enqueue('email', after => array[a], run_at => '2030-01-01 12:05:00Z') as soon
from due;
select underway_test.advance_clock('10 minutes');
select pg_temp.ends(a, 'succeeded') from due;
select results_eq('select id from underway.dequeue(''email'', 10)', 'select soon from late', 'a task that is due when its dependency succeeds runs');
select is(
    (select t.ready_at from underway.task t, late where t.id = late.id), '2030-01-01 13:00:00Z', 'a delay longer than the wait still counts'
);
select underway_test.advance_clock('50 minutes');
select results_eq('select id from underway.dequeue(''email'', 10)', 'select id from late', 'and not before');

-- a chain of any length

create temporary table chain (place integer, id bigint);
do $$
declare
    v_id bigint := underway.enqueue('work');
begin
    insert into chain values (0, v_id);
    for v_place in 1..500 loop
        v_id := underway.enqueue('email', after => array[v_id], after_failure => 'fail');
        insert into chain values (v_place, v_id);
    end loop;
end;
$$;
select set_eq('select underway_test.state_of(id) from chain where place > 0', '{waiting}'::text[], 'a chain waits');
select pg_temp.ends(id, 'failed') from chain where place = 0;
select set_eq('select underway_test.state_of(id) from chain', '{failed}'::text[], 'and fails from its first task to its last');
select is_empty(
    $$
        select c.place
        from chain c
        join chain p on p.place = c.place - 1
        cross join underway.task_info(c.id) i
        where i.errors #>> '{0,message}' <> format('task %s, which it comes after, is failed', p.id)
    $$,
    'each error names the task before it in the chain'
);
select is((select count(*) from underway.task t where t.queue = 'letters'), 500::bigint, 'each failed task of the chain leaves a dead letter');
delete from underway.task;

-- one after another, when they succeed

create temporary table line as select underway.enqueue('work') as a, 0::bigint as b, 0::bigint as c;
update line set b = underway.enqueue('work', after => array[a]);
update line set c = underway.enqueue('work', after => array[b, a]);
select is((select underway.complete(d.id, d.lease)::text from underway.dequeue('work', 10) d), '', 'the first task of a chain runs');
select results_eq('select id from underway.dequeue(''work'', 10)', 'select b from line', 'the second task of a chain runs after the first');
select is(underway_test.state_of(c), 'waiting', 'the last task of a chain waits for the second') from line;

-- cancel

create temporary table cancelled as select underway.enqueue('work') as a;
create temporary table whim as select underway.enqueue('email', after => array[a]) as id from cancelled;
select ok(underway.cancel(id), 'a waiting task may be cancelled') from whim;
select pg_temp.ends(a, 'succeeded') from cancelled;
select is(underway_test.state_of(id), 'cancelled', 'a cancelled task stays cancelled when its dependency succeeds') from whim;
select throws_ok(
    format($$ select underway.reschedule(%s, now()) $$, underway.enqueue('email', after => array[underway.enqueue('work')])),
    'UW005', null, 'a waiting task cannot be rescheduled'
);

-- refusals

create temporary table before as select count(*) from underway.task;
select throws_ok(
    $$ select underway.enqueue('email', after => '{987654321}') $$, 'UW004', 'task 987654321 does not exist',
    'a task that does not exist is refused'
);
select throws_ok(
    $$ select underway.enqueue('email', after => '{}', after_failure => 'hope') $$, 'UW001', $$after_failure is 'hope'$$,
    'an unknown after_failure is refused, even without after'
);
select throws_ok(
    $$ select underway.enqueue('email', after_failure => null) $$, 'UW001', 'after_failure is NULL', 'an after_failure that is null is refused'
);
select throws_ok($$ select underway.enqueue('email', after => '{null}') $$, 'UW001', null, 'an id that is null is refused');
select is((select count(*) from underway.task), before.count, 'what is refused leaves no task') from before;

select * from finish();
rollback;
