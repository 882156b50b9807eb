-- the holder says how far a task is

begin;
select plan(15);

select underway_test.stop_clock();

create temp table held as select * from underway_test.held_task();
create temp table neighbour as select * from underway_test.held_task();
create temp table before as select t.* from underway.task t join held on held.id = t.id;

select is(i.progress, null, 'a task that has said nothing has no progress') from held, underway.task_info(held.id) i;

select lives_ok(
    $$ select underway.report_progress(held.id, held.lease, '{"percent": 40}') from held $$,
    'a holder says how far its task is'
);

select is(i.progress, '{"percent": 40}', 'task_info shows the progress') from held, underway.task_info(held.id) i;

select is(
    (select to_jsonb(t) from underway.task t join held on held.id = t.id),
    (select to_jsonb(before) || '{"progress": {"percent": 40}}' from before),
    'nothing else changes, the lease is not renewed'
);

select is(i.progress, null, 'other tasks have their own') from neighbour, underway.task_info(neighbour.id) i;

select underway.report_progress(held.id, held.lease, '"nearly done"') from held;

select is(i.progress, '"nearly done"', 'the last word counts, in any JSON') from held, underway.task_info(held.id) i;

-- size; a JSON string has its two quotes

select lives_ok(
    $$ select underway.report_progress(held.id, held.lease, to_jsonb(repeat('a', 32766))) from held $$,
    '32 KiB are accepted'
);

select throws_ok(
    $$ select underway.report_progress(held.id, held.lease, to_jsonb(repeat('a', 32767))) from held $$,
    'UW001', 'progress has 32769 bytes of text', 'a byte more is refused with the size'
);

select matches(
    underway_test.hint_of($$ select underway.report_progress(held.id, held.lease, to_jsonb(repeat('a', 32767))) from held $$),
    'Keep it within 32 KiB', 'the hint says the limit'
);

select is(
    length(i.progress #>> '{}'), 32766, 'a refused progress leaves the last one'
)
from held, underway.task_info(held.id) i;

-- it outlasts the attempt

select underway.report_progress(held.id, held.lease, '{"percent": 60}') from held;
select underway.release(held.id, held.lease) from held;

select is(
    i.progress, '{"percent": 60}', 'a task that is given back still shows how far it came'
)
from held, underway.task_info(held.id) i;

-- fencing

select throws_ok(
    $$ select underway.report_progress(held.id, held.lease, '1') from held $$,
    'UW002', format('task %s is not held under lease %s; it is pending', held.id, held.lease),
    'a former holder is refused'
)
from held;

select throws_ok(
    $$ select underway.report_progress(neighbour.id, held.lease, '1') from held, neighbour $$, 'UW002', null,
    'a wrong lease is refused'
);

select throws_ok(
    $$ select underway.report_progress(held.id, null, '1') from held $$, 'UW002', null,
    'a null lease does not fit a pending task'
);

select is(i.progress, null, 'a refused progress changes nothing') from neighbour, underway.task_info(neighbour.id) i;

select * from finish();
rollback;
