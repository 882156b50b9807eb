-- the holder reports a task as done

begin;
select plan(20);

select underway_test.stop_clock();

create temp table held as select * from underway_test.held_task(attempt => 2);
select underway_test.advance_clock('10 seconds');

select lives_ok(
    $$ select underway.complete(held.id, held.lease, '{"message_id": 17}') from held $$,
    'a holder reports its task as done'
);

select results_eq(
    $$
        select i.state::text, i.output, i.attempt, i.enqueued_at, i.started_at, i.finished_at, i.kept_until
        from held, underway.task_info(held.id) i
    $$,
    $$
        values (
            'succeeded', '{"message_id": 17}'::jsonb, 2, '2030-01-01 12:00:00+00'::timestamptz,
            '2030-01-01 12:00:00+00'::timestamptz, '2030-01-01 12:00:10+00'::timestamptz,
            '2030-01-15 12:00:10+00'::timestamptz
        )
    $$,
    'a completed task is in the history with its output and times, and expires fourteen days after its finish'
);

select is(
    (select count(*) from underway.task t join held on held.id = t.id), 0::bigint,
    'a completed task is not live'
);

select throws_ok(
    $$ select underway.complete(held.id, held.lease, '{"message_id": 18}') from held $$,
    'UW002', format('task %s is not held under lease %s; it is succeeded', held.id, held.lease),
    'completing it again is refused'
)
from held;

select is(i.output, '{"message_id": 17}', 'a refused completion leaves the first output') from held, underway.task_info(held.id) i;

-- outputs

create temp table silent as select * from underway_test.held_task();
select underway.complete(silent.id, silent.lease) from silent;

select is(i.output, null, 'a task needs no output') from silent, underway.task_info(silent.id) i;

create temp table nothing as select * from underway_test.held_task();
select underway.complete(nothing.id, nothing.lease, 'null') from nothing;

select is(i.output, 'null', 'the JSON null is an output') from nothing, underway.task_info(nothing.id) i;

select underway.configure(max_output_size => '1 kB');
create temp table large as select * from underway_test.held_task();

select throws_ok(
    $$ select underway.complete(large.id, large.lease, to_jsonb(repeat('ü', 512))) from large $$,
    'UW014', 'the output has 1026 bytes of text; the limit is 1024', 'an output that is too large is refused with its size'
);

select is(
    underway_test.hint_of($$ select underway.complete(large.id, large.lease, to_jsonb(repeat('a', 1024))) from large $$),
    'Store the data elsewhere and return a reference, or raise the limit: '
    'select underway.configure(max_output_size => ''64 MB'');',
    'the hint says what to do'
);

select is(underway_test.state_of(large.id), 'in_progress', 'its task is still held') from large;

select lives_ok(
    $$ select underway.complete(large.id, large.lease, to_jsonb(repeat('a', 1022))) from large $$,
    'an output of exactly the limit is accepted'
);

-- a lease that has lapsed, but was not taken back

create temp table slow as select * from underway_test.held_task();
select underway_test.advance_clock('1 hour');
select underway.complete(slow.id, slow.lease) from slow;

select is(
    underway_test.state_of(slow.id), 'succeeded', 'a task whose lease nobody took back can still be completed'
)
from slow;

-- earlier errors

create temp table tried as select * from underway_test.held_task();
select underway.fail(tried.id, tried.lease, '"first"', retry_after => '0') from tried;
create temp table again as select claimed.id, claimed.lease from underway.dequeue('email') claimed;
select underway.complete(again.id, again.lease) from again;

select is(
    i.state::text || ' after ' || (i.errors #>> '{0,message}'), 'succeeded after first',
    'a task that succeeds keeps its earlier errors'
)
from tried, underway.task_info(tried.id) i;

-- refusals

create temp table other as select * from underway_test.held_task();

select throws_ok(
    $$ select underway.complete(other.id, gen_random_uuid()) from other $$, 'UW002', null,
    'a lease that is not that of the task is refused'
);

select throws_ok(
    $$ select underway.complete(other.id, null) from other $$,
    'UW001', format('the lease of task %s is null', other.id),
    'a lease that is null is refused'
)
from other;

select is(underway_test.state_of(other.id), 'in_progress', 'a refused completion leaves the task running') from other;

-- with the writes of the handler

create temp table effect (word text);

create function pg_temp.handle(lease uuid) returns void language plpgsql as $$
begin
    insert into effect values ('done');
    perform from other, underway.complete(other.id, handle.lease);
end;
$$;

select throws_ok('select pg_temp.handle(gen_random_uuid())', 'UW002', null, 'a lost lease aborts the handler');

select is_empty('select * from effect', 'a refused completion rolls back the writes of its transaction');

select pg_temp.handle(other.lease) from other;

select is((select count(*) from effect), 1::bigint, 'the writes of the holder stay');

select is(underway_test.state_of(other.id), 'succeeded', 'together with the completion') from other;

select * from finish();
rollback;
