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
    'a worker that has stopped is gone, the others stay'
);

-- what it holds

select is(underway_test.state_of(id), 'in_progress', 'what it holds is not taken from it at once') from held;

select is(
    (select array_agg(renewed) from held, underway.heartbeat(array[held.id], array[held.lease]) as renewed),
    array[(select id from held)],
    'its lease can still be renewed'
);

select underway_test.advance_clock('31 seconds');
select underway._run_chores();

select is(underway_test.state_of(id), 'pending', 'what it still holds lapses') from held;

-- unknown workers

select lives_ok(
    'select underway.unregister_worker(-1), underway.unregister_worker(null)',
    'a worker that was forgotten meanwhile is passed over'
);

select is((select count(*) from underway.worker), 1::bigint, 'the others stay');

select * from finish();
rollback;
