-- a single task with keys

begin;
select plan(15);

select underway_test.stop_clock();
select underway.create_queue('email');

create temp table task as
select underway.enqueue('email', '1', unique_key => 'order', concurrency_key => 'customer') as id;

select results_eq(
    $$ select t.id, t.unique_key::text collate "default", t.concurrency_key::text collate "default" from underway.task t $$,
    $$ select task.id, 'order', 'customer' from task $$, 'a task keeps both its keys'
);

select is(underway.enqueue('email', '2', unique_key => 'order'), task.id, 'a unique key that is taken returns the id of its task')
from task;

select is(
    underway.enqueue('email', '3', unique_key => 'order', on_conflict => 'replace', delay => '1 minute'), task.id,
    'a replaced task returns its id'
)
from task;

select results_eq(
    $$ select t.input, t.ready_at from underway.task t $$,
    $$ values ('3'::jsonb, '2030-01-01 12:01:00+00'::timestamptz) $$, 'a replaced task has the new input and time'
);

select throws_ok(
    $$ select underway.enqueue('email', unique_key => 'order', on_conflict => 'error') $$, 'UW010',
    format('the key ''order'' of queue ''email'' is taken by task %s', task.id), 'a unique key that is taken is refused with on_conflict error'
)
from task;

select underway.cancel(task.id) from task;
create temp table held as select underway.enqueue('email', unique_key => 'order', unique_for => '1 hour') as id;
select underway.complete(c.id, c.lease) from underway.dequeue('email') c;

select is(underway.enqueue('email', unique_key => 'order'), held.id, 'a unique key is taken for unique_for after its task has finished') from held;

create temp table concurrent as
select underway.enqueue('email', '1', concurrency_key => 'customer') as id from generate_series(1, 2);

select is(
    (select count(*) from underway.task t where t.concurrency_key = 'customer'), 2::bigint,
    'several tasks may share a concurrency key'
);

-- no keys

select isnt(
    underway.enqueue('email', unique_key => null, delay => '1 hour'), underway.enqueue('email', unique_key => null),
    'a null unique key is no unique key'
);

select isnt(
    underway.enqueue('email', on_conflict => 'replace'), underway.enqueue('email', on_conflict => 'replace'),
    'on_conflict has no effect without a unique key'
);

-- refusals

select throws_ok(
    $$ select underway.enqueue('email', unique_key => '') $$, 'UW001', 'unique key 1 has 0 bytes',
    'an empty unique key is refused'
);

select throws_ok(
    $$ select underway.enqueue('email', concurrency_key => '') $$, 'UW001', 'the concurrency key has 0 bytes',
    'an empty concurrency key is refused'
);

select throws_ok(
    $$ select underway.enqueue('email', unique_key => 'a', concurrency_key => repeat('x', 1025)) $$, 'UW001',
    'the concurrency key has 1025 bytes', 'a concurrency key that is too long is refused, with a unique key too'
);

select throws_ok(
    $$ select underway.enqueue('email', on_conflict => 'skip') $$, 'UW001', $$on_conflict is 'skip'$$,
    'an unknown on_conflict is refused even without a key'
);

select throws_ok(
    $$ select underway.enqueue('email', unique_for => '1 hour') $$, 'UW001',
    'unique_for 01:00:00 is given without a unique key', 'a unique_for without a unique key is refused'
);

-- the planner puts the call in the caller's statement

create function pg_temp.plan_of(statement text) returns setof text language plpgsql as $$
begin
    return query execute 'explain (verbose, costs off) ' || plan_of.statement;
end;
$$;

select matches(
    (select string_agg(line, ' ') from pg_temp.plan_of($$ select underway.enqueue('email', unique_key => 'a') $$) as line),
    'underway\._enqueue_one\(', 'the planner replaces a call of enqueue with a unique key by a call of _enqueue_one'
);

select * from finish();
rollback;
