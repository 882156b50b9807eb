-- a batch is reported as done

begin;
select plan(17);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.enqueue_many('email', array['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']::jsonb[]);

create temp table held as
select claimed.id, claimed.lease, claimed.input::integer as number from underway.dequeue('email', 10) claimed;

-- given from last to first, each with its output

select set_eq(
    $$
        select underway.complete_many(
            array_agg(held.id order by held.id desc),
            array_agg(held.lease order by held.id desc),
            array_agg(to_jsonb(held.number * 10) order by held.id desc)
        )
        from held
        where held.number < 4
    $$,
    $$ select held.id from held where held.number < 4 $$,
    'the ids that were settled are returned'
);

select results_eq(
    $$ select h.input::integer, h.output::integer, h.state::text from underway.task_history h order by h.id $$,
    $$ values (0, 0, 'succeeded'), (1, 10, 'succeeded'), (2, 20, 'succeeded'), (3, 30, 'succeeded') $$,
    'each task gets its own output, in whatever order the batch is given'
);

select is((select count(*) from underway.task), 6::bigint, 'the others run on');

-- partly lost

select underway.cancel(held.id) from held where held.number = 5;

select set_eq(
    $$
        select underway.complete_many(
            array_agg(held.id order by held.id), array_agg(held.lease order by held.id)
        )
        from held
        where held.number in (2, 4, 5, 6)
    $$,
    $$ select held.id from held where held.number in (4, 6) $$,
    'tasks that were completed or cancelled before are not returned, and the rest is settled'
);

select results_eq(
    $$
        select h.input::integer, h.output::integer, h.state::text
        from underway.task_history h
        where h.input::integer in (2, 4, 5, 6)
        order by h.id
    $$,
    $$ values (2, 20, 'succeeded'), (4, null, 'succeeded'), (5, null, 'cancelled'), (6, null, 'succeeded') $$,
    'the other tasks do not change, and without outputs the output is null'
);

-- named twice

select results_eq(
    $$
        select underway.complete_many(array[held.id, held.id], array[held.lease, held.lease], '{1,1}')
        from held
        where held.number = 7
    $$,
    $$ select held.id from held where held.number = 7 $$,
    'a task that is named twice is settled and returned once'
);

select is(
    (select count(*) from underway.task_history h where h.input = '7'), 1::bigint, 'a task that is named twice is in the history once'
);

-- named with a wrong and with its own lease

select results_eq(
    $$
        select underway.complete_many(array[held.id, held.id], array[gen_random_uuid(), held.lease], '{"\"wrong\"","\"right\""}')
        from held
        where held.number = 8
    $$,
    $$ select held.id from held where held.number = 8 $$,
    'a task is settled under its own lease'
);

select is(
    (select h.output #>> '{}' from underway.task_history h where h.input = '8'), 'right',
    'the output that belongs to the matching lease is stored'
);

-- fewer outputs than tasks

create temp table last_two as
select claimed.id, claimed.lease
from underway.enqueue_many('email', '{10,11}'), underway.dequeue('email', 2) claimed;

select underway.complete_many(array_agg(last_two.id order by last_two.id), array_agg(last_two.lease), '{1}') from last_two;

select results_eq(
    $$ select h.output from underway.task_history h join last_two on last_two.id = h.id order by h.id $$,
    $$ values ('1'::jsonb), (null) $$,
    'a task for which no output is left has none'
);

-- nothing

select is_empty($$ select underway.complete_many('{}', '{}') $$, 'an empty batch settles nothing');

select is_empty($$ select underway.complete_many(null, null) $$, 'null arrays settle nothing');

select throws_ok(
    $$ select underway.complete_many('{1,2}', array[gen_random_uuid()]) $$, 'UW001', '2 tasks and 1 leases',
    'tasks and leases that do not pair up are refused'
);

select throws_ok(
    $$
        select underway.complete_many(
            array[held.id, pending.id], array[held.lease, null]
        )
        from held, underway.enqueue('email') as pending (id)
        where held.number = 9
    $$,
    'UW001', null,
    'a null lease, which a pending task has, refuses the batch'
);

select is(
    underway_test.state_of(held.id), 'in_progress', 'a refused batch settles nothing'
)
from held where held.number = 9;

-- many

create temp table many as
select claimed.id, claimed.lease
from (
    select underway.enqueue_many('many', array(select to_jsonb(number) from generate_series(1, 1000) as number))
    from underway.create_queue('many')
) as added, underway.dequeue('many', 1000) claimed;

select is(
    (
        select count(done.id)
        from (
            select underway.complete_many(array_agg(many.id), array_agg(many.lease), array_agg(to_jsonb(many.id)))
            from many
        ) as done (id)
    ),
    1000::bigint, 'a thousand tasks are settled in one call'
);

select is_empty(
    $$ select from underway.task_history h join many on many.id = h.id where h.output is distinct from to_jsonb(h.id) $$,
    'each with its output'
);

select * from finish();
rollback;
