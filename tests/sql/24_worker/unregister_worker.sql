begin;
select plan(6);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway_test.ready_task('email');

create temporary table worker on commit drop as
select name, underway.register_worker(name, '{email}') as id
from unnest('{leaver, other}'::text[]) as name;

create temporary table held on commit drop as
select claimed.id, claimed.lease
from worker w
cross join lateral underway.dequeue('email', 1, w.id) claimed
where w.name = 'leaver';

select underway.unregister_worker(id) from worker where name = 'leaver';

select results_eq(
    'select name from underway.worker', $$ values ('other') $$,
    'only the given worker is removed'
);

-- tasks that the worker still holds

select is(underway_test.state_of(id), 'in_progress', 'a task that the removed worker holds stays in progress') from held;

select is(
    (select array_agg(renewed) from held, underway.heartbeat(array[held.id], array[held.lease]) as renewed),
    array[(select id from held)],
    'the lease of that task can still be renewed'
);

select underway_test.advance_clock('31 seconds');
select underway._run_chores();

select is(underway_test.state_of(id), 'pending', 'the task is reclaimed when its lease has lapsed') from held;

-- unknown workers

select lives_ok(
    'select underway.unregister_worker(-1), underway.unregister_worker(null)',
    'a worker id that does not exist is ignored'
);

select is((select count(*) from underway.worker), 1::bigint, 'the other workers stay registered');

select * from finish();
rollback;
