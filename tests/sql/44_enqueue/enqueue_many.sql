-- one task for each input

begin;
select plan(15);

select underway_test.stop_clock();
select underway.create_queue('email');

-- ids in the order of the inputs

create temp table added as
select id, place
from underway.enqueue_many('email', array(select to_jsonb(number) from generate_series(1, 1000) as number)) as ids,
    unnest(ids) with ordinality as given (id, place);

select is((select count(*) from added), 1000::bigint, 'each input gives an id');

select is_empty(
    $$
        select added.place
        from added
        join underway.task t on t.id = added.id
        where t.input <> to_jsonb(added.place)
    $$,
    'ids come in the order of the inputs'
);

select is_empty(
    $$
        select place
        from (select added.place, lag(added.id) over (order by added.place) as before, added.id from added) as pair
        where pair.before >= pair.id
    $$,
    'the ids ascend'
);

select results_eq(
    $$ select claimed.input from underway.dequeue('email', 1000) as claimed $$,
    $$ select to_jsonb(number) from generate_series(1, 1000) as number $$,
    'the tasks are claimed in the order of the inputs'
);

-- one set of options for all

create temp table full_ids as
select underway.enqueue_many(
    'email',
    array['"a"', '"b"']::jsonb[],
    job => 'send_mail',
    run_at => '2030-01-01 12:10:00+00',
    priority => 7,
    retry_policy => underway.retry_policy(max_attempts => 9, jitter => 0),
    timeout => '2 minutes',
    heartbeat => '20 seconds',
    retention => '5 days',
    headers => '{"trace": "1-2"}'
) as ids;

select results_eq(
    $$
        select t.input, t.job, t.ready_at, t.enqueued_at, t.priority, t.retry_policy::text, t.timeout, t.heartbeat, t.retention,
            t.headers, t.state::text, t.attempt
        from underway.task t
        join full_ids on t.id = any (full_ids.ids)
        order by t.id
    $$,
    $$
        select
            letter.input, 'send_mail', '2030-01-01 12:10:00+00'::timestamptz, '2030-01-01 12:00:00+00'::timestamptz, 7,
            '(9,00:00:01,00:01:00,2,0)', interval '2 minutes', interval '20 seconds', interval '5 days',
            '{"trace": "1-2"}'::jsonb, 'pending', 0
        from (values (1, '"a"'::jsonb), (2, '"b"')) as letter (place, input)
        order by letter.place
    $$,
    'all tasks have all the options'
);

create temp table delayed as select underway.enqueue_many('email', '{1}', delay => '1 hour') as ids;

select is(
    i.ready_at, '2030-01-01 13:00:00+00', 'a delay counts from now'
)
from delayed, underway.task_info(delayed.ids[1]) i;

-- inputs

select is(underway.enqueue_many('email', '{}'), '{}', 'no inputs give no ids');

create temp table repeated as select underway.enqueue_many('email', '{7,7,7}') as ids;

select is(
    (select count(*) from underway.task t join repeated on t.id = any (repeated.ids)), 3::bigint,
    'equal inputs are tasks of their own'
);

-- all or nothing

create temp table before as select count(*) from underway.task;

select throws_ok(
    $$ select underway.enqueue_many('email', array['1', '2', null]::jsonb[]) $$, 'UW001', 'input 3 is null',
    'an input that is null refuses the batch, and is named'
);

select throws_ok(
    $$ select underway.enqueue_many('email', array['1', to_jsonb(repeat('a', 1048575))]) $$,
    'UW007', 'input 2 has 1048577 bytes of text; the limit is 1048576',
    'an input that is too large refuses the batch, and is named'
);

select throws_ok(
    $$ select underway.enqueue_many('email', null::jsonb[]) $$, 'UW001', null, 'inputs that are null are refused'
);

select throws_ok(
    $$ select underway.enqueue_many('fax', '{1}') $$, 'UW003', $$queue 'fax' does not exist$$,
    'a queue that does not exist is refused'
);

select throws_ok(
    $$ select underway.enqueue_many('fax', '{}') $$, 'UW003', null,
    'a queue that does not exist is refused even for no inputs'
);

select throws_ok(
    $$ select underway.enqueue_many('email', '{1}', delay => '-1 s') $$, 'UW001', null,
    'options that cannot be are refused'
);

select is((select count(*) from underway.task), before.count, 'a refused batch leaves no task') from before;

select * from finish();
rollback;
