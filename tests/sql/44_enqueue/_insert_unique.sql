-- a single task and its key

begin;
select plan(7);

select underway_test.stop_clock();
select underway.create_queue('email');

create function pg_temp.take_key(
    id bigint, unique_key text, on_conflict text default 'return', unique_for interval default null,
    unique_until text default 'finish'
)
returns underway.enqueued_task language sql as $$
    select underway._insert_unique(
        take_key.id, 'email', take_key.unique_key, to_jsonb(take_key.id), underway._clock(),
        row(
            null, null, null, 0, null, null, null, null, null, null, null, take_key.on_conflict, take_key.unique_for,
            take_key.unique_until, null, null, 'wait'
        )::underway.task_options,
        underway._clock()
    )
$$;

select is(pg_temp.take_key(1001, null), row(1001, true, false)::underway.enqueued_task, 'a task without a key is inserted');

select is(pg_temp.take_key(1002, null), row(1002, true, false)::underway.enqueued_task, 'a second task without a key is inserted too');

select is(
    pg_temp.take_key(1003, null, unique_for => '1 hour'), row(1003, true, false)::underway.enqueued_task,
    'a task without a key is inserted even with unique_for'
);

select is_empty($$ select from underway.unique_reservation $$, 'a task without a key makes no reservation');

select is(pg_temp.take_key(1004, 'a'), row(1004, true, false)::underway.enqueued_task, 'a key that is free is taken');

select is(
    pg_temp.take_key(1005, 'a'), row(1004, false, false)::underway.enqueued_task, 'a second enqueue of the key returns the first task'
);

select results_eq(
    $$ select t.id from underway.task t order by t.id $$, array[1001, 1002, 1003, 1004]::bigint[], 'the second enqueue inserts no task'
);

select * from finish();
rollback;
