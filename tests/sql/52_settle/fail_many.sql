-- a batch of failed attempts

begin;
select plan(20);

select underway_test.stop_clock();
select underway.create_queue(
    'email', retry_policy => underway.retry_policy(max_attempts => 2, initial_interval => '10 seconds', jitter => 0)
);
select underway.create_queue(
    'sms', retry_policy => underway.retry_policy(max_attempts => 9, initial_interval => '20 seconds', jitter => 0)
);

create temp table held (number integer, id bigint, lease uuid);

create function pg_temp.hold(numbers integer[], queue text default 'email') returns void language sql as $$
    select underway.enqueue_many(hold.queue, array(select to_jsonb(number) from unnest(hold.numbers) as number));

    insert into held
    select claimed.input::integer, claimed.id, claimed.lease
    from underway.dequeue(hold.queue, cardinality(hold.numbers)) as claimed;
$$;

-- each with its own error and fate, given from last to first

create temp table outcome as select null::integer as number, failed.* from underway.fail_many('{}', '{}', '{}') as failed;

select pg_temp.hold(array[1, 2, 3, 4]);
select pg_temp.hold(array[5], 'sms');

insert into outcome
select held.number, failed.*
from
    (
        select array_agg(held.id order by held.number desc) as ids, array_agg(held.lease order by held.number desc) as leases
        from held
    ) as batch,
    underway.fail_many(
        batch.ids, batch.leases,
        array['"five"', '"four"', '{"message": "three", "type": "E"}', '"two"', '"one"']::jsonb[],
        array[true, null, true, false, true],
        array[null, null, '1 minute', '1 minute', '0']::interval[]
    ) as failed
join held on held.id = failed.id;

select results_eq(
    $$ select outcome.number, outcome.state::text, outcome.ready_at from outcome order by outcome.number $$,
    $$
        values
            (1, 'pending', '2030-01-01 12:00:00+00'::timestamptz),
            (2, 'failed', null),
            (3, 'pending', '2030-01-01 12:01:00+00'),
            (4, 'pending', '2030-01-01 12:00:10+00'),
            (5, 'pending', '2030-01-01 12:00:20+00')
    $$,
    'the outcome of each task is returned: by its retryable, its retry_after, and the policy of its queue'
);

select results_eq(
    $$
        select held.number, i.state::text, i.ready_at, i.attempt, i.errors #>> '{0,message}', jsonb_array_length(i.errors)
        from held, underway.task_info(held.id) i
        order by held.number
    $$,
    $$
        values
            (1, 'pending', '2030-01-01 12:00:00+00'::timestamptz, 1, 'one', 1),
            (2, 'failed', null, 1, 'two', 1),
            (3, 'pending', '2030-01-01 12:01:00+00', 1, 'three', 1),
            (4, 'pending', '2030-01-01 12:00:10+00', 1, 'four', 1),
            (5, 'pending', '2030-01-01 12:00:20+00', 1, 'five', 1)
    $$,
    'each task has its outcome and its error'
);

-- partly lost

truncate held;
delete from underway.task;
select pg_temp.hold(array[6, 7, 8, 9]);
select underway.complete(held.id, held.lease) from held where held.number = 6;
select underway.cancel(held.id) from held where held.number = 8;
update held set lease = gen_random_uuid() where held.number = 9;

select results_eq(
    $$
        select held.number, failed.state::text
        from
            (select array_agg(held.id order by held.id) as ids, array_agg(held.lease order by held.id) as leases from held) as batch,
            underway.fail_many(batch.ids, batch.leases, '{"\"6\"","\"7\"","\"8\"","\"9\""}', '{f,f,f,f}') as failed
        join held on held.id = failed.id
    $$,
    $$ values (7, 'failed') $$,
    'only what is still held fails, and comes back'
);

select results_eq(
    $$ select held.number, i.state::text, i.errors #>> '{0,message}' from held, underway.task_info(held.id) i order by held.number $$,
    $$ values (6, 'succeeded', null), (7, 'failed', '7'), (8, 'cancelled', null), (9, 'in_progress', null) $$,
    'the others stay as they were, without an error'
);

-- named twice

truncate held;
delete from underway.task;
select pg_temp.hold(array[10]);

create temp table twice as
select failed.*
from held, underway.fail_many(array[held.id, held.id], array[held.lease, held.lease], '{"\"a\"","\"b\""}') as failed;

select is((select count(*) from twice), 1::bigint, 'a task that is named twice fails once');

select is(
    (select jsonb_array_length(i.errors) from held, underway.task_info(held.id) i), 1,
    'a task that is named twice has one error for its attempt'
);

truncate held;
delete from underway.task;
select underway.create_queue('letters');
select underway.create_queue('email', dead_letter_queue => 'letters');
select pg_temp.hold(array[11]);

select is(
    (
        select count(*)
        from held, underway.fail_many(array[held.id, held.id], array[held.lease, held.lease], '{"\"a\"","\"b\""}', '{f,f}')
    ),
    1::bigint, 'a task that is named twice fails for good once'
);

select is(
    (select jsonb_array_length(i.errors) from held, underway.task_info(held.id) i), 1, 'a task that is named twice and fails for good has one error'
);

select is((select count(*) from underway.task t where t.queue = 'letters'), 1::bigint, 'a task that is named twice leaves one dead letter');

select underway.create_queue('email', dead_letter_queue => '');

-- what is left out

truncate held;
delete from underway.task;
select pg_temp.hold(array[12, 13, 14]);

select results_eq(
    $$
        select held.number, failed.state::text, failed.ready_at, i.errors #>> '{0,message}'
        from
            (select array_agg(held.id order by held.id) as ids, array_agg(held.lease order by held.id) as leases from held) as batch,
            underway.fail_many(batch.ids, batch.leases, null) as failed
        join held on held.id = failed.id,
        underway.task_info(failed.id) i
        order by held.number
    $$,
    $$ select number, 'pending', '2030-01-01 12:00:10+00'::timestamptz, null::text from generate_series(12, 14) as number $$,
    'without errors, retryable and retry_after every task may be tried again'
);

select is(
    (select array_agg(distinct i.errors #>> '{0,message}') from held, underway.task_info(held.id) i), array['no error was given'],
    'a missing error says that none was given'
);

truncate held;
delete from underway.task;
select pg_temp.hold(array[15, 16]);
select underway.fail_many(array_agg(held.id order by held.id), array_agg(held.lease order by held.id), '{"\"a\""}', '{f}') from held;

select results_eq(
    $$ select i.state::text, i.errors #>> '{0,message}' from held, underway.task_info(held.id) i order by held.id $$,
    $$ values ('failed', 'a'), ('pending', 'no error was given') $$,
    'arrays that are too short leave the rest to the defaults'
);

-- nothing

select is_empty($$ select underway.fail_many('{}', '{}', '{}') $$, 'an empty batch fails nothing');

select is_empty($$ select underway.fail_many(null, null, null) $$, 'null arrays fail nothing');

-- refusals

truncate held;
delete from underway.task;
select pg_temp.hold(array[17, 18]);

select throws_ok(
    $$ select underway.fail_many(array_agg(held.id), '{}', '{}') from held $$, 'UW001', '2 tasks and 0 leases',
    'tasks and leases that do not pair up are refused'
);

select throws_ok(
    $$ select underway.fail_many(array_agg(held.id), array[null, null]::uuid[], '{}') from held $$, 'UW001', null,
    'a null lease is refused'
);

select throws_ok(
    $$
        select underway.fail_many(array_agg(held.id), array_agg(held.lease), '{}', null, array['1 minute', '-1 minute']::interval[])
        from held
    $$,
    'UW001', 'retry_after is -00:01:00', 'one retry_after that cannot be refuses the batch'
);

select is(
    (select count(*) from underway.task t join held on held.id = t.id and held.lease = t.lease), 2::bigint,
    'a refused batch leaves every task running'
);

-- many, of which some fail for good

truncate held;
delete from underway.task;
select pg_temp.hold(array(select generate_series(1, 500)));

create temp table many as
select failed.*, held.number
from
    (
        select
            array_agg(held.id) as ids, array_agg(held.lease) as leases, array_agg(to_jsonb('error ' || held.number)) as errors,
            array_agg(held.number % 2 = 0) as retryable
        from held
    ) as batch,
    underway.fail_many(batch.ids, batch.leases, batch.errors, batch.retryable) as failed
join held on held.id = failed.id;

select results_eq(
    $$ select many.state::text, count(*), bool_and(many.number % 2 = 0) from many group by many.state order by many.state $$,
    $$ values ('pending', 250::bigint, true), ('failed', 250, false) $$,
    'five hundred tasks fail in one call, each as it should'
);

select is_empty(
    $$
        select many.number
        from many, underway.task_info(many.id) i
        where i.state <> many.state or i.errors #>> '{0,message}' <> 'error ' || many.number or jsonb_array_length(i.errors) <> 1
    $$,
    'each of many tasks has its own error'
);

select * from finish();
rollback;
